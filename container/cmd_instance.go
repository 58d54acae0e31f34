package container

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/pkg/cio"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/spec"
)

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
	p := newProcess(c, c.first(), c.life(), cmd)
	p.leave, p.release = leave, func() { _ = c.Close() }
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
