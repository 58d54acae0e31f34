package container

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/containerd/containerd/v2/pkg/identifiers"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/record"
)

// newID makes the id of a container.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// Name is what the container is called, also in errors: the name that it was
// given, by Config or by Rename, else its id. After a Rename by another program,
// or through another Container, it is the old one: Get knows the new one.
func (c *Container) Name() string {
	if name := *c.name.Load(); name != "" {
		return name
	}
	return c.ID()
}

// Rename gives the container another name, which may be what Config.Name may
// be, but not "". Get finds it by that at once, and by the old one no more; the
// container itself, whose hostname may be its old name, does not notice. A name
// that another container has, or that is another's id, is
// ctor.ErrAlreadyExists, and one that can't be is ctor.ErrInvalid: then the
// container keeps the name it has.
func (c *Container) Rename(ctx context.Context, name string) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("rename", err)
	}
	defer leave()
	if err := identifiers.Validate(name); err != nil {
		return c.wrap("rename", err)
	}
	return c.wrap("rename", engine.Cause(ctx, c.rename(ctx, name)))
}

// rename claims the new name before it gives back the old one: at no moment has
// the container none.
func (c *Container) rename(ctx context.Context, name string) error {
	key := "rename " + c.ID()
	if err := c.e.Lock(ctx, key); err != nil {
		return err
	}
	defer c.e.Unlock(key)
	now, err := c.e.Client.ContainerService().Get(ctx, c.ID())
	if err != nil {
		return err
	}
	old, _ := record.Of(now)
	if old.Name != name {
		if err := c.e.Claim(ctx, c.ID(), name, c.about.Owner == ""); err != nil {
			return err
		}
		if err := c.renameInNetworks(name); err != nil {
			own, cancel := c.e.Cleanup(ctx)
			defer cancel()
			return errors.Join(err, c.e.Release(own, c.ID(), name))
		}
		ctx, cancel := c.e.Cleanup(ctx) // from here on it is done, or undone
		defer cancel()
		if _, err := c.e.Note(ctx, c.ID(), func(r *record.Record) { r.Name = name }); err != nil {
			return errors.Join(err, c.renameInNetworks(c.Name()), c.e.Release(ctx, c.ID(), name))
		}
		err = c.e.Release(ctx, c.ID(), old.Name)
	}
	c.name.Store(&name)
	return err
}
