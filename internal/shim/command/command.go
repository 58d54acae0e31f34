// Package command is the executor that runs the runc or crun command: pure Go,
// as the distribution patches it, and nothing to build.
package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Executor runs containers with a command of runc's interface.
type Executor struct{ binary string }

// New makes an executor of the command at path, or by its name on PATH.
func New(binary string) *Executor { return &Executor{binary: binary} }

var _ task.Executor = (*Executor)(nil)

type container struct {
	binary, id string
	dir, root  string       // of the bundle, and of the state
	calls      atomic.Int64 // numbers the logs
}

// Of gives a container that somebody else has made with runc, whose state is in
// root. dir is for what a call leaves for a moment.
func (e *Executor) Of(id, root, dir string) task.Container {
	return &container{binary: e.binary, id: id, dir: dir, root: root}
}

// Create implements task.Executor.
func (e *Executor) Create(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	cgroup.ExpectMove()
	if err := b.Mount(); err != nil {
		return nil, task.Process{}, err
	}
	limits := withOpenFiles(b.Spec.Process.Rlimits)
	if err := bundle.Annotate(b.Dir, task.CriuAnnotation, b.CriuConfig(), e.version(), limits); err != nil {
		return nil, task.Process{}, err
	}
	c := &container{binary: e.binary, id: b.ID, dir: b.Dir, root: filepath.Join(b.Dir, "runc")}
	started, err := c.begin(ctx, io, func(ctx context.Context, r *runc.Runc, s *starting) error {
		if b.Images != "" {
			return c.restore(ctx, r, b, s)
		}
		return r.Create(ctx, b.ID, b.Dir, &runc.CreateOpts{IO: s, PidFile: s.pidFile, ConsoleSocket: s.console()})
	})
	if err != nil {
		// A create that failed half-way may have left its state and cgroup.
		_ = c.call(context.WithoutCancel(ctx), func(ctx context.Context, r *runc.Runc) error {
			return r.Delete(ctx, b.ID, &runc.DeleteOpts{Force: true})
		})
		// crun 1.8 forgets the cgroup where it has written no state yet.
		if path := cgroupPath(b); path != "" {
			cgroup.RemoveEmpty(path)
		}
		// Nor does it name what it can't execute.
		if args := b.Spec.Process.Args; len(args) > 0 && strings.Contains(err.Error(), "open executable: ") {
			err = fmt.Errorf("exec: %q: %w", args[0], err)
		}
		return nil, task.Process{}, err
	}
	return c, started, nil
}

// cgroupPath is the container's cgroup as its configuration has it; "" if that
// leaves it to the command.
func cgroupPath(b task.Bundle) string {
	if l := b.Spec.Linux; l != nil && filepath.IsAbs(l.CgroupsPath) {
		return l.CgroupsPath
	}
	return ""
}

// version is that of the OCI's configuration that the command is given; "" is
// what it was. crun 1.8 takes none but 1.0, and leaves out what came later.
func (e *Executor) version() string {
	if filepath.Base(e.binary) == "crun" {
		return "1.0.2"
	}
	return ""
}

// Start implements task.Container.
func (c *container) Start(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return r.Start(ctx, c.id) })
}

// Exec implements task.Container.
func (c *container) Exec(ctx context.Context, _ string, p *specs.Process, io task.Stdio) (task.Process, error) {
	cgroup.ExpectMove()
	limited := *p
	limited.Rlimits = withOpenFiles(p.Rlimits)
	started, err := c.begin(ctx, io, func(ctx context.Context, r *runc.Runc, s *starting) error {
		return r.Exec(ctx, c.id, limited, &runc.ExecOpts{IO: s, PidFile: s.pidFile, ConsoleSocket: s.console(), Detach: true})
	})
	if err == nil {
		lowerOpenFiles(started.Pid, limited.Rlimits)
	}
	return started, err
}

// Pause implements task.Container.
func (c *container) Pause(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return r.Pause(ctx, c.id) })
}

// Resume implements task.Container.
func (c *container) Resume(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return r.Resume(ctx, c.id) })
}

// Update implements task.Container.
func (c *container) Update(ctx context.Context, l *specs.LinuxResources) error {
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return r.Update(ctx, c.id, l) })
}

// Delete implements task.Container. Without force: runc 1.5 would wait 100 ms
// for a container that has ended.
func (c *container) Delete(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return r.Delete(ctx, c.id, nil) })
}

// call runs one verb. Each has a log of its own, or one verb's failure would
// be explained by another's.
func (c *container) call(ctx context.Context, verb func(context.Context, *runc.Runc) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := slack(ctx)
	defer cancel()
	log := c.file("log")
	defer os.Remove(log)
	return explain(log, verb(ctx, &runc.Runc{
		Command:   c.binary,
		Root:      c.root,
		Log:       log,
		LogFormat: runc.JSON,
		// Or it would go on to make a container when the shim has been killed.
		PdeathSignal: unix.SIGKILL,
		Rootless:     rootless(),
	}))
}

// rootless has the command do without cgroups where none can be made; nil leaves it to
// the command, which takes root of a user namespace for any root.
func rootless() *bool {
	if cgroup.Absent() == nil {
		return nil
	}
	without := true
	return &without
}

// file names a file for one call.
func (c *container) file(kind string) string {
	return filepath.Join(c.dir, fmt.Sprintf("runc-%d.%s", c.calls.Add(1), kind))
}

// patience is how long a command goes on after its context has ended.
const patience = 5 * time.Second

// slack gives a command that is under way the time to come to its end. Killed
// half-way, it would leave processes behind that nobody knows of, and a cgroup
// without the state that names it.
func slack(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(patience):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}
