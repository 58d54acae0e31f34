package build

import (
	"cmp"
	"context"
	"path"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver/ops"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"

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

// command is the step of a RUN. BuildKit would put its secrets and the sockets of
// its agents into the host's temporary directory, and leave them there when the
// program is killed: they are taken out of the step that it runs, and added to the
// container's mounts instead.
func (h *hand) command(v solver.Vertex, whole solver.Op, exec *pb.Op_Exec, platform *pb.Platform, sm *session.Manager) (solver.Op, error) {
	c := &commandOp{Op: whole, b: h.b, platform: platform, exec: exec.Exec}
	rest := exec.Exec.CloneVT()
	rest.Mounts = nil
	for _, m := range exec.Exec.Mounts {
		switch m.MountType {
		case pb.MountType_SECRET:
			c.secrets = append(c.secrets, m)
		case pb.MountType_SSH:
			c.agents = append(c.agents, m)
		default:
			rest.Mounts = append(rest.Mounts, m)
		}
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
	exec      *pb.ExecOp
	platform  *pb.Platform
	secrets   []*pb.Mount
	agents    []*pb.Mount
}

func (c *commandOp) Exec(ctx context.Context, job solver.JobContext, inputs []solver.Result) ([]solver.Result, error) {
	build, err := c.b.buildOf(job.Session())
	if err != nil {
		return nil, err
	}
	s := step{network: build.o.Network, sessions: c.b.sessions, build: job.Session(), secrets: c.secrets, agents: c.agents}
	out, err := c.runs.Exec(context.WithValue(ctx, stepKey{}, s), job, inputs)
	if err != nil {
		return nil, foreign(err, c.platform)
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
	network  *container.Network
	sessions *session.Manager
	build    session.Group // where secrets and agents are asked for
	secrets  []*pb.Mount
	agents   []*pb.Mount
}

type stepKey struct{}

func stepOf(ctx context.Context) (step, bool) {
	s, ok := ctx.Value(stepKey{}).(step)
	return s, ok
}

// place is where in the container a mount lies.
func place(m *pb.Mount, cwd string) string {
	if path.IsAbs(m.Dest) {
		return path.Clean(m.Dest)
	}
	return path.Join("/", cwd, m.Dest)
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
