package container

import (
	"context"
	"errors"
	"os"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/reach"
)

// inside is what the container's door must know of it.
type inside struct{ c *Container }

var _ reach.Container = inside{}

func (i inside) ID() string { return i.c.ID() }

func (i inside) Cgroup() string { return i.c.cgroup() }

func (i inside) Dir() string { return i.c.e.Dir(i.c.ID()) }

func (i inside) Ended(ctx context.Context) <-chan struct{} { return life.Ended(ctx, i.c.life()) }

// Pid implements reach.Container.
func (i inside) Pid(ctx context.Context) (int, error) {
	pid, err := i.c.life().Pid(ctx)
	if err == nil && pid == 0 {
		err = unix.ESRCH
	}
	return pid, err
}

func (i inside) Running(ctx context.Context) error {
	s, err := i.c.life().Status(ctx)
	if err == nil && s.State == containerd.Stopped {
		err = unix.ESRCH
	}
	return err
}

func (i inside) Layer(ctx context.Context) ([]mount.Mount, error) {
	mounts, err := i.c.layer(ctx)
	if err != nil {
		return nil, err
	}
	return i.c.overPoints(mounts), nil
}

// layer is what the root is mounted from.
func (c *Container) layer(ctx context.Context) ([]mount.Mount, error) {
	if c.root != nil {
		return c.root, nil
	}
	return c.e.Client.SnapshotService(c.record.Snapshotter).Mounts(ctx, c.record.SnapshotKey)
}

// through is what every use of the door has around it.
func (c *Container) through(ctx context.Context, use func(context.Context) error) error {
	return c.call(ctx, func(ctx context.Context) error { return c.whyNot(ctx, use(ctx)) })
}

// whyNot says that the container has ended, if that is why the door gave err.
func (c *Container) whyNot(ctx context.Context, err error) error {
	if !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	if c.ending.Load() {
		return reach.ErrClosed
	}
	s, serr := c.life().Status(ctx)
	if serr != nil {
		return serr
	}
	return hasEnded(s)
}

// hasEnded is the error of what can't be done without a process.
func hasEnded(s life.Status) error {
	if s.State == containerd.Created {
		return invalid("it was not started")
	}
	if s.State != containerd.Stopped || s.Exit.Code == life.Unknown {
		return invalid("it has ended")
	}
	return invalid("it has ended with %s", s.Exit)
}
