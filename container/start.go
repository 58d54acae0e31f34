package container

import (
	"context"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
)

// Start runs the process that New created. A container is started once: a
// second Start, or one after the end, fails with ctor.ErrInvalid. ctx is looked
// at before: a start that has begun is seen through, so that an error always
// means that the container does not run.
func (c *Container) Start(ctx context.Context) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("start", err)
	}
	defer leave()
	return c.wrap("start", engine.Cause(ctx, c.start(ctx)))
}

func (c *Container) start(ctx context.Context) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.run == nil || !c.untouched() {
		s, err := c.status(ctx)
		if err != nil {
			return err
		}
		if s.Status != containerd.Created {
			return invalid("it is %s, and a container is started once", s.Status)
		}
	}
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if err := c.markStarted(); err != nil {
		return err
	}
	if err := c.task.start(ctx); err != nil {
		c.unmarkStarted()
		return explain(err)
	}
	if c.run != nil {
		c.run.streams.Feed(c.endInput)
	}
	return nil
}

// untouched tells of an attached container, whose every step is known here,
// that it was neither started nor ended.
func (c *Container) untouched() bool {
	select {
	case <-c.run.exited:
		return false
	default:
		return c.run.started.Load() == nil
	}
}

// startedPath is a file whose time is that of the start, for later programs.
func (c *Container) startedPath() string { return filepath.Join(c.e.Dir(c.ID()), "started") }

func (c *Container) markStarted() error {
	now := time.Now()
	if c.run == nil {
		return mark(c.startedPath(), now)
	}
	c.run.started.Store(&now)
	return nil
}

// mark makes a file of that time. The file system's own clock is milliseconds
// behind: by it a container would have started before it was made.
func mark(path string, at time.Time) error {
	made := path + ".new"
	if err := os.WriteFile(made, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(made, at, at); err != nil {
		return err
	}
	return os.Rename(made, path)
}

func (c *Container) unmarkStarted() {
	if c.run == nil {
		_ = os.Remove(c.startedPath())
		return
	}
	c.run.started.Store(nil)
}

// startedAt is when Start was called, zero if it was not.
func (c *Container) startedAt() time.Time {
	if c.run == nil {
		if st, err := os.Stat(c.startedPath()); err == nil {
			return st.ModTime()
		}
	} else if t := c.run.started.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// endInput tells the runtime that there is no more input.
func (c *Container) endInput() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	// An error means that the process is gone, and its input with it.
	_ = c.task.closeInput(ctx)
}
