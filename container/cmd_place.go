package container

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
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

// Command makes a command to run in an instance of its own of the image whose
// manifest is given. Most programs call [image.Image.Command], which calls this
// and says more. ref is the name the image goes by.
//
// [image.Image.Command]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Command
func Command(ctx context.Context, e *ctor.Engine, ref string, manifest ocispec.Descriptor, name string, arg ...string) *Cmd {
	return command(ctx, &instance{ctx: ctx, order: order{
		ctor: e, in: engine.Of(e), ref: ref, manifest: manifest,
		id: newID(),
	}}, name, arg)
}

// instance is the place of a command that is the first process of a container
// of its own.
type instance struct {
	ctx   context.Context
	order order
}

func (i *instance) String() string { return "a container of " + i.order.ref }

func (i *instance) engine() *engine.Engine { return i.order.in }

// first is what the image says of its process. The home of its user is only
// known from its files.
func (i *instance) first() (*specs.Process, error) {
	ctx, leave, err := i.order.in.Enter(i.ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	class, err := i.order.in.Class(ctx, i.order.in.Image(i.order.ref, i.order.manifest))
	if err != nil {
		return nil, err
	}
	return spec.First(class.Image.Config, spec.Options{Hostname: i.order.id})
}

// start makes the container and starts it. It is a call on the engine as long
// as the process lives, so the engine's Close waits for its end.
func (i *instance) start(ctx context.Context, cmd spec.Command, on cio.Config) (*Process, error) {
	o := i.order
	o.cfg.TTY, o.cfg.Entrypoint = cmd.TTY, []string{cmd.Path}
	o.instead = &replacement{cmd, on}
	inside, leave, err := o.in.Enter(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	c, err := o.make(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	if err := c.start(inside); err != nil {
		defer leave()
		return nil, errors.Join(err, c.Close())
	}
	p := newProcess(c, cmd, &life.Command{
		Process: c.first(), Life: c.life(), Leave: leave, Release: func() { _ = c.Close() },
	})
	p.Pid, _ = c.life().Pid(inside) // which this program knows
	go p.watch(inside)
	return p, nil
}

// replacement is a command that takes the place of a container's first
// process, with its streams.
type replacement struct {
	command spec.Command
	streams cio.Config
}
