package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/entitlements/security"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/unwind"
)

// commands runs the commands of RUN as containers of the engine.
type commands struct {
	e     *ctor.Engine
	in    *engine.Engine
	dir   string // below it they have files of the host
	turns *turns
}

var _ executor.Executor = (*commands)(nil)

// hostname is that of all commands: what a step makes should not depend on it.
const hostname = "build"

// Run implements executor.Executor.
func (x *commands) Run(ctx context.Context, _ string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (_ resourcestypes.Recorder, err error) {
	if started != nil {
		defer sync.OnceFunc(func() { close(started) })() // a caller that waits for it learns how it ended
	}
	s, ok := stepOf(ctx)
	if !ok {
		return nil, errors.New("a command that belongs to no build")
	}
	var undo unwind.Stack
	defer func() { err = errors.Join(err, undo.Run()) }()
	r, err := x.prepare(ctx, s, root, mounts, p.Meta, &undo)
	if err != nil {
		return nil, err
	}
	said, complained := &tail{}, &tail{}
	out := &together{}
	cfg := r.config(p.Meta, s)
	cfg.Stdout, cfg.Stderr = out.with(p.Stdout, said), out.with(p.Stderr, said, complained)
	c, err := container.Over(ctx, x.e, r.root, ocispec.ImageConfig{}, cfg)
	if errors.Is(err, exec.ErrNotFound) {
		// As a shell says that a command is not there.
		return nil, &commandError{code: 127, err: errors.Unwrap(err)}
	}
	if err != nil {
		return nil, err
	}
	undo.Push(r.stubs.remove) // after the container is gone
	undo.Push(c.Close)
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return nil, ended(ctx, c.Wait(ctx), p.Meta.ValidExitCodes, said, complained)
}

// Exec implements executor.Executor. It is for frontends that look into a
// container that runs, and the one here does not.
func (*commands) Exec(context.Context, string, executor.ProcessInfo) error {
	return errors.ErrUnsupported
}

// ended judges how a command has ended.
func ended(ctx context.Context, err error, valid []int, said, complained *tail) error {
	var exit *container.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		return engine.Cause(ctx, err)
	}
	code := 0
	if exit != nil {
		code = exit.Code
	}
	if valid == nil && code == 0 || slices.Contains(valid, code) {
		return nil
	}
	e := &commandError{code: code, oom: exit != nil && exit.OOMKilled, said: said.bytes()}
	// Two streams come in any order: what is on stderr is more likely the reason.
	if e.last = complained.line(); e.last == "" {
		e.last = said.line()
	}
	return e
}

// commandError is the end of a command that has failed.
type commandError struct {
	code int
	oom  bool
	said []byte
	last string // line of that
	err  error  // why it never ran, else nil
}

func (e *commandError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	s := fmt.Sprintf("exit code %d", e.code)
	if e.oom {
		s += ", out of memory"
	}
	if e.last != "" {
		s += ": " + e.last
	}
	return s
}

// Unwrap gives BuildKit its own kind of error as well.
func (e *commandError) Unwrap() []error {
	list := []error{&gateway.ExitError{ExitCode: uint32(e.code)}}
	if e.err != nil {
		list = append(list, e.err)
	}
	return list
}

// run is what one command is given.
type run struct {
	root   []specs.Mount
	mounts []specs.Mount
	stubs  *stubs
}

// prepare finds out where the files of a command are.
func (x *commands) prepare(ctx context.Context, s step, root executor.Mount, mounts []executor.Mount, meta executor.Meta, undo *unwind.Stack) (*run, error) {
	dir, err := os.MkdirTemp(x.dir, "build-")
	if err != nil {
		return nil, err
	}
	undo.Push(func() error { return os.RemoveAll(dir) })
	all, err := x.sources(ctx, append([]executor.Mount{{Src: root.Src, Dest: "/"}}, mounts...), undo)
	if err != nil {
		return nil, err
	}
	r := &run{root: all[:1], mounts: all[1:]}
	files, err := s.secretFiles(ctx, dir, meta.Cwd)
	if err != nil {
		return nil, err
	}
	sockets, err := s.agentSockets(ctx, dir, meta.Cwd, undo)
	if err != nil {
		return nil, err
	}
	r.mounts = append(append(r.mounts, files...), sockets...)
	r.stubs, err = newStubs(ctx, r.root, dir, meta.RemoveMountStubsRecursive)
	return r, err
}

// config is what the container is told.
func (r *run) config(meta executor.Meta, s step) container.Config {
	cfg := container.Config{
		Entrypoint: meta.Args, Env: meta.Env, Dir: meta.Cwd, User: meta.User, Hostname: hostname,
		LogLimit: 1 << 20, // the least: the build has the output already
		Network:  *s.network,
	}
	if meta.Hostname != "" {
		cfg.Hostname = meta.Hostname
	}
	switch meta.NetMode {
	case pb.NetMode_NONE:
		cfg.Network = container.Network{}
	case pb.NetMode_HOST: // the solver has seen that it is allowed
		cfg.Network = container.Host()
	}
	cfg.Spec = func(spec *specs.Spec) error {
		spec.Mounts = append(spec.Mounts, r.mounts...)
		spec.Root.Readonly = meta.ReadonlyRootFS
		for _, u := range meta.Ulimit {
			spec.Process.Rlimits = append(spec.Process.Rlimits, specs.POSIXRlimit{
				Type: "RLIMIT_" + strings.ToUpper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft),
			})
		}
		if meta.SecurityMode == pb.SecurityMode_INSECURE {
			if err := privileged(spec); err != nil {
				return err
			}
		}
		if err := addHosts(spec, meta.ExtraHosts); err != nil {
			return err
		}
		return r.stubs.expect(spec)
	}
	return cfg
}

// privileged takes down the walls, for RUN --security=insecure.
func privileged(s *specs.Spec) error {
	if err := security.WithInsecureSpec()(context.Background(), nil, nil, s); err != nil {
		return err
	}
	s.Process.NoNewPrivileges = false
	s.Linux.Seccomp = nil
	for i, m := range s.Mounts {
		if m.Type == "sysfs" || m.Type == "cgroup" || m.Type == "cgroup2" || m.Destination == "/sys/fs/cgroup" {
			s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" })
		}
	}
	return nil
}

// addHosts adds to the container's own /etc/hosts.
func addHosts(s *specs.Spec, hosts []executor.HostIP) error {
	if len(hosts) == 0 {
		return nil
	}
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/etc/hosts" })
	if i < 0 {
		return errors.New("the container has no /etc/hosts of its own")
	}
	f, err := os.OpenFile(s.Mounts[i].Source, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, h := range hosts {
		if _, err := fmt.Fprintf(f, "%s\t%s\n", h.IP, h.Host); err != nil {
			return err
		}
	}
	return f.Close()
}

// together lets one write through at a time.
type together struct{ mu sync.Mutex }

// with is a writer to all of ws that are not nil. It never fails: a command is not
// to end because its output can't be shown.
func (t *together) with(ws ...io.Writer) io.Writer { return &shared{t, ws} }

type shared struct {
	*together
	to []io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.to {
		if w != nil {
			_, _ = w.Write(p)
		}
	}
	return len(p), nil
}

// tail keeps the last of what is written to it.
type tail struct{ kept []byte }

const (
	tailLines = 20
	tailBytes = 8 << 10
)

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-tailBytes):]...)
	t.kept = append(t.kept[:0], t.kept[max(0, len(t.kept)-tailBytes):]...)
	return len(p), nil
}

// bytes gives the last lines. The first of them may be the end of one.
func (t *tail) bytes() []byte {
	b := t.kept
	for at, n := len(b)-1, 0; at > 0; at-- {
		if b[at-1] == '\n' {
			if n++; n == tailLines {
				return slices.Clone(b[at:])
			}
		}
	}
	return slices.Clone(b)
}

// line gives the last line that is not empty.
func (t *tail) line() string {
	b := bytes.TrimSpace(t.kept)
	return string(bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:]))
}
