package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/reach"
)

func init() {
	engine.Rebase = func(ctx context.Context, c any, move func(context.Context, containers.Container) (engine.Origin, error)) error {
		return c.(*Container).rebase(ctx, move)
	}
	engine.Hold = func(ctx context.Context, c any, do func(context.Context) error) error {
		return c.(*Container).hold(ctx, do)
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
	if err := c.letGo(ctx, l); err != nil {
		return err
	}
	_ = c.door.Renew()
	var o engine.Origin
	err = c.door.Still(ctx, func(ctx context.Context) (err error) { // files that were opened are the layer's before
		o, err = move(ctx, c.record)
		return err
	})
	if err != nil {
		return c.closedMeanwhile(err)
	}
	ctx, cancel := c.e.Cleanup(ctx) // the move is done, whatever ctx has come to
	defer cancel()
	if _, err := c.e.SetOrigin(ctx, c.ID(), o); err != nil {
		return err
	}
	c.origin.Store(&o)
	return nil
}

// hold is engine.Hold.
func (c *Container) hold(ctx context.Context, do func(context.Context) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := c.journal.Lock(ctx)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer unlock()
	inside, end, err := c.door.Within(ctx)
	if err != nil {
		return c.closedMeanwhile(err)
	}
	defer end()
	if err = do(inside); err != nil && ctx.Err() == nil && inside.Err() != nil {
		err = c.closedMeanwhile(errors.Join(context.Cause(inside), err))
	}
	return err
}

// closedMeanwhile gives the error of a door that is closed its class.
func (c *Container) closedMeanwhile(err error) error {
	if errors.Is(err, fs.ErrClosed) || c.ending.Load() {
		return fmt.Errorf("%w: %w", reach.ErrClosed, err)
	}
	return err
}
