package container

import (
	"cmp"
	"context"
	"crypto/rand"
	"strings"

	"github.com/containerd/containerd/v2/pkg/identifiers"

	"github.com/ctorhq/ctor/internal/events"
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
	return c.wrap("rename", c.call(ctx, func(ctx context.Context) error {
		if err := identifiers.Validate(name); err != nil {
			return err
		}
		done, err := c.e.Rename(ctx, c.ID(), name, c.about.Owner == "", func(name string) error {
			return c.links.Rename(cmp.Or(name, c.ID())) // "" is that it has none but its id
		})
		if done {
			c.name.Store(&name)
			c.report(events.Renamed, events.Event{})
		}
		return err
	}))
}
