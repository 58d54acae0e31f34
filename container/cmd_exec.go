package container

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"syscall"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/spec"
)

// running is the place of a command in a container that runs.
type running struct{ c *Container }

func (r running) String() string { return fmt.Sprintf("container %q", r.c.Name()) }

func (r running) engine() *engine.Engine { return r.c.e }

func (r running) first() (*specs.Process, error) {
	o, err := r.c.outline()
	return o.Process, err
}

// start runs a further process. The call on the container that it is lasts as
// long as the process: so the engine's Close waits for its end.
func (r running) start(ctx context.Context, cmd spec.Command, on cio.Config) (_ *Process, err error) {
	inside, leave, err := r.c.enter(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			leave()
		}
	}()
	own, cancel := r.c.e.Cleanup(inside)
	defer cancel()
	added := r.c.first()
	added.Exec = strings.ToLower(rand.Text()[:16])
	watched := life.New(added, life.Watching{Gone: r.c.e.Backend.Gone})
	l := &life.Command{Process: added, Life: watched, Leave: leave, Among: &r.c.commands}
	l.Release = sync.OnceFunc(l.Forget)
	p := newProcess(r.c, cmd, l)
	add := &api.ExecProcessRequest{Terminal: on.Terminal, Stdin: on.Stdin, Stdout: on.Stdout, Stderr: on.Stderr}
	if err = r.exec(ctx, own, cmd, add, p); err != nil {
		l.Abandon()
		return nil, r.whyNot(own, err)
	}
	go watched.Watch(r.c.e.Context(context.Background()), func(e *life.Exit) {
		// Asked before the container goes, and what tells with it.
		e.OOMKilled = e.Code == 128+int(syscall.SIGKILL) && r.c.oomKilled()
	})
	go p.watch(inside)
	return p, nil
}

// exec takes the steps of start: looking is for those that look into the
// container, which can make them long.
func (r running) exec(looking, ctx context.Context, cmd spec.Command, add *api.ExecProcessRequest, p *Process) error {
	first, err := r.first()
	if err != nil {
		return err
	}
	if r.c.life().Started().IsZero() {
		return invalid("it does not run")
	}
	v, err := r.c.door.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.End()
	process, err := cmd.Process(v.Root.In(looking), first)
	if err != nil {
		return engine.Cause(looking, err)
	}
	if add.Spec, err = spec.Encode(process); err != nil {
		return err
	}
	if err := p.life.Process.Add(ctx, add); err != nil {
		return err
	}
	if err := p.life.Life.Start(ctx); err != nil {
		late, cancel := r.c.e.Cleanup(ctx)
		defer cancel()
		p.life.Process.Discard(late, r.c.e.Backend.Gone)
		return err
	}
	p.Pid, err = p.life.Life.Pid(ctx)
	return err
}

// whyNot says that the container does not run, if that is why a command was
// not started.
func (r running) whyNot(ctx context.Context, err error) error {
	if r.c.ending.Load() {
		return errContainerClosed
	}
	s, serr := r.c.life().Status(ctx)
	if serr != nil || s.State == containerd.Running {
		return err
	}
	return invalid("it is %s, and a command needs a container that runs", s.State)
}
