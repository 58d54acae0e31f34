package body

import (
	"context"
	"errors"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// ErrUnfit is the error of a body that waits and can't become what it is to be.
var ErrUnfit = errors.New("the warm instance does not do")

// Become gives a body that was Parked its command, its name and its places in networks,
// as p says, and finishes it. What p says beside is what the body was made by: where
// that comes out otherwise, as by Edit, the error is ErrUnfit. After an error nothing
// is left of the body.
func (b *Body) Become(ctx context.Context, p Plan, finish Finish) error {
	return b.attempt(ctx, func(own context.Context) error {
		b.plan = p
		if err := b.join(); err != nil {
			return err
		}
		if err := b.reconfigure(ctx); err != nil {
			return err
		}
		if name := p.Record.Name; name != "" {
			if err := b.e.Claim(own, p.ID, name, p.lasting()); err != nil {
				return err
			}
		}
		if err := b.enroll(own); err != nil {
			return err
		}
		return finish(own, b)
	})
}

// reconfigure writes the configuration that Make would write now. It must ask for nothing
// that was made in another way before.
func (b *Body) reconfigure(ctx context.Context) error {
	was, made := b.options, b.spec
	o, p := &b.options, b.plan.Wanted
	o.Args, o.Entrypoint, o.Env, o.Dir, o.TTY, o.Hostname = p.Args, p.Entrypoint, p.Env, p.Dir, p.TTY, b.hostname()
	o.Addresses = b.addresses()
	err := b.look(ctx, func(root *rootfs.Root) (err error) {
		b.spec, err = b.specify(ctx, root, made)
		return err
	})
	if err != nil {
		return err
	}
	if !spec.SameBeside(made, b.spec) {
		return ErrUnfit
	}
	if o.Hostname != was.Hostname || len(o.Addresses) > 0 {
		return spec.WriteNames(*o)
	}
	return nil
}

// Discard takes back all there is of a body that nothing becomes of.
func (b *Body) Discard() error { return b.Undo.Run() }
