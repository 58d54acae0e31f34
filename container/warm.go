package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/body"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/pool"
)

// warm is an instance that waits for its claim.
type warm struct {
	order
	body *body.Body
	pid  int
}

// park makes a container but for its command. It is what a pool is filled by.
func (o order) park(ctx context.Context) (*warm, error) {
	parker := o.in.Backend.Parker()
	if parker == nil {
		return nil, pool.ErrNever
	}
	ctx, leave, err := o.in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	o.id = newID()
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	p.Parked = true
	w := &warm{order: o}
	err = body.Make(ctx, o.in, p, func(own context.Context, b *body.Body) error {
		w.body = b
		c := o.container(b)
		err := c.links.Shared(own, func() error {
			a, err := parker.Park(own, c.task(b.Root, cio.Config{}))
			w.pid = int(a.GetPid())
			return life.Explain(err)
		})
		return errors.Join(err, ctx.Err())
	})
	if errdefs.IsNotImplemented(err) {
		err = fmt.Errorf("%w: %w", pool.ErrNever, err)
	}
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	return w, nil
}

// Await implements pool.Thing.
func (w *warm) Await(ctx context.Context) {
	first := life.Process{Tasks: w.in.Client.TaskService(), Container: w.id}
	_, _ = first.Wait(w.in.Context(ctx))
}

// Discard implements pool.Thing.
func (w *warm) Discard() error { return w.body.Discard() }

// claim makes the container that is ordered of a warm instance, which is gone after an
// error.
func (w *warm) claim(ctx context.Context, o order) (c *Container, err error) {
	o.id = w.id
	p, err := o.plan()
	if err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	err = w.body.Become(ctx, p, func(own context.Context, b *body.Body) (err error) {
		c, err = o.begin(ctx, own, b, w.give)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// give gives the first process its command. It is a create.
func (w *warm) give(ctx context.Context, io cio.Config) (pid int, err error) {
	err = life.Explain(w.in.Backend.Parker().Give(ctx, w.id, w.body.Hostname(), w.body.Process(), io))
	if errdefs.IsFailedPrecondition(err) || errdefs.IsUnavailable(err) || errdefs.IsNotImplemented(err) {
		err = fmt.Errorf("%w: %w", body.ErrUnfit, err) // it has ended, or its shim has
	}
	return w.pid, err
}
