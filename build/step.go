package build

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver/ops"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/thread"
)

// hand is BuildKit's worker, which does what the solver decides, with the steps
// that need to know whose build they belong to.
type hand struct {
	*base.Worker
	b *builder
}

var _ worker.Worker = (*hand)(nil)

// ResolveOp implements worker.Worker.
func (h *hand) ResolveOp(v solver.Vertex, bridge frontend.FrontendLLBBridge, sm *session.Manager, proxy worker.ProxyOpt) (solver.Op, error) {
	op, err := h.Worker.ResolveOp(v, bridge, sm, proxy)
	if err != nil {
		return nil, err
	}
	p, ok := v.Sys().(*pb.Op)
	if !ok {
		return op, nil
	}
	switch kind := p.Op.(type) {
	case *pb.Op_Exec:
		return h.command(v, op, kind, p.Platform, sm)
	case *pb.Op_File:
		return &fileOp{op}, nil
	}
	return op, nil
}

// Executor implements worker.Worker.
func (h *hand) Executor() executor.Executor { return h.b.commands }

// command is the step of a RUN. BuildKit would mount its secrets in the host's
// temporary directory: they are taken out of the step that it runs, and added to
// the container's mounts instead.
func (h *hand) command(v solver.Vertex, whole solver.Op, exec *pb.Op_Exec, platform *pb.Platform, sm *session.Manager) (solver.Op, error) {
	c := &commandOp{Op: whole, b: h.b}
	rest := exec.Exec.CloneVT()
	rest.Mounts = nil
	for _, m := range exec.Exec.Mounts {
		if m.MountType == pb.MountType_SECRET {
			c.secrets = append(c.secrets, m)
			continue
		}
		rest.Mounts = append(rest.Mounts, m)
	}
	runs, err := ops.NewExecOp(v, &pb.Op_Exec{Exec: rest}, platform, h.CacheMgr, nil, sm, h.b.commands, h, nil, false)
	if err != nil {
		return nil, err
	}
	c.runs = runs
	return c, nil
}

// commandOp is a RUN.
type commandOp struct {
	solver.Op           // the whole of it, for its cache key
	runs      solver.Op // what BuildKit does of it
	b         *builder
	secrets   []*pb.Mount
}

func (c *commandOp) Exec(ctx context.Context, job solver.JobContext, inputs []solver.Result) ([]solver.Result, error) {
	o, err := c.b.optionsOf(job.Session())
	if err != nil {
		return nil, err
	}
	s := step{network: o.Network, mounts: c.secrets, secrets: o.Secrets}
	out, err := c.runs.Exec(context.WithValue(ctx, stepKey{}, s), job, inputs)
	if err != nil {
		return nil, err
	}
	return finished(ctx, out)
}

// finished commits the snapshots that a step has made, before another build can find
// them. BuildKit would do so when the first step that needs them begins, and read
// meanwhile, for another build, what it then changes (cache/refs.go, finalize and
// isDead, v0.34.2).
func finished(ctx context.Context, out []solver.Result) ([]solver.Result, error) {
	for _, r := range out {
		w, ok := r.Sys().(*worker.WorkerRef)
		if !ok || w.ImmutableRef == nil {
			continue
		}
		if err := w.ImmutableRef.Finalize(ctx); err != nil {
			for _, r := range out {
				_ = r.Release(context.WithoutCancel(ctx))
			}
			return nil, err
		}
	}
	return out, nil
}

// step is what a command must know of the build that it is of.
type step struct {
	network *container.Network
	mounts  []*pb.Mount // of secrets
	secrets map[string][]byte
}

type stepKey struct{}

func stepOf(ctx context.Context) (step, bool) {
	s, ok := ctx.Value(stepKey{}).(step)
	return s, ok
}

// secretFiles writes the secrets that the command mounts into dir.
func (s step) secretFiles(dir, cwd string) (list []specs.Mount, err error) {
	for n, m := range s.mounts {
		id := m.SecretOpt.GetID()
		data, ok := s.secrets[id]
		if !ok {
			if m.SecretOpt.GetOptional() {
				continue
			}
			return nil, fmt.Errorf("secret %q is not among Options.Secrets: %w", id, ctor.ErrNotFound)
		}
		at := m.Dest
		if !path.IsAbs(at) {
			at = path.Join("/", cwd, at)
		}
		file := filepath.Join(dir, "secret-"+strconv.Itoa(n))
		if err := os.WriteFile(file, data, 0o400); err != nil {
			return nil, err
		}
		if err := os.Chmod(file, fs.FileMode(m.SecretOpt.GetMode()&0o777)); err != nil {
			return nil, err
		}
		if err := os.Lchown(file, int(m.SecretOpt.GetUid()), int(m.SecretOpt.GetGid())); err != nil {
			return nil, err
		}
		list = append(list, specs.Mount{
			Type: "bind", Source: file, Destination: path.Clean(at),
			Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	return list, nil
}

// fileOp is a COPY, an ADD or a WORKDIR. The modes of what it makes must not depend
// on the program's umask.
type fileOp struct{ solver.Op }

func (f *fileOp) Exec(ctx context.Context, job solver.JobContext, inputs []solver.Result) (out []solver.Result, err error) {
	terr := thread.WithUmask(func() error {
		out, err = f.Op.Exec(ctx, job, inputs)
		return nil
	})
	if err = cmp.Or(terr, err); err != nil {
		return nil, err
	}
	return finished(ctx, out)
}
