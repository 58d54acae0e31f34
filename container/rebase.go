package container

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
)

func init() {
	engine.Rebase = func(ctx context.Context, c any, move func(context.Context, containers.Container) (engine.Origin, error)) error {
		return c.(*Container).rebase(ctx, move)
	}
}

// rebase is engine.Rebase.
func (c *Container) rebase(ctx context.Context, move func(context.Context, containers.Container) (engine.Origin, error)) error {
	bounded := c.about.Disk != 0 || c.about.Quota != 0 // its layer is what counts
	if c.detached() || c.kept() || bounded || c.root != nil || !c.starting.TryLock() {
		return engine.ErrNotStill
	}
	defer c.starting.Unlock()
	if c.ending.Load() {
		return engine.ErrNotStill
	}
	l := c.life()
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if s.State != containerd.Stopped || s.Exit.Code == life.Unknown {
		return engine.ErrNotStill
	}
	c.passing.Lock()
	defer c.passing.Unlock()
	ctx, cancel := c.e.Cleanup(ctx) // from here on it is done
	defer cancel()
	if c.past != l {
		if err := c.e.DeleteEnded(ctx, c.ID()); err != nil {
			return err
		}
		c.past = l
	}
	_ = c.door.Renew() // files that were opened are the layer's before
	o, err := move(ctx, c.record)
	if err != nil {
		return err
	}
	ctx, cancel = c.e.Cleanup(ctx) // move may have taken all of the time that there was
	defer cancel()
	if _, err := c.e.SetOrigin(ctx, c.ID(), o); err != nil {
		return err
	}
	c.origin.Store(&o)
	return nil
}
