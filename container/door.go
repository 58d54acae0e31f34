package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/reach"
)

// inside is what the container's door must know of it.
type inside struct{ c *Container }

var _ reach.Container = inside{}

// ID names the container for as long as the engine is there: the name alone may
// come to mean another one.
func (i inside) ID() string {
	return fmt.Sprintf("%s of %d", i.c.ID(), i.c.record.CreatedAt.UnixNano())
}

func (i inside) Cgroup() string { return i.c.cgroup() }

func (i inside) Dir() string { return i.c.e.Dir(i.c.ID()) }

func (i inside) Ended(ctx context.Context) <-chan struct{} { return i.c.exited(ctx) }

// Pid is not known of a container of another version (see findTask): then there
// is none that can be reached.
func (i inside) Pid(ctx context.Context) (int, error) {
	if i.c.task == nil {
		return 0, unix.ESRCH
	}
	if i.c.task.pid == 0 {
		if _, err := i.c.status(ctx); err != nil {
			return 0, err
		}
		return 0, unix.ESRCH
	}
	return int(i.c.task.pid), nil
}

func (i inside) Running(ctx context.Context) error {
	s, err := i.c.status(ctx)
	if err == nil && s.Status == containerd.Stopped {
		err = unix.ESRCH
	}
	return err
}

func (i inside) Layer(ctx context.Context) ([]mount.Mount, error) {
	return i.c.e.Client.SnapshotService(i.c.record.Snapshotter).Mounts(ctx, i.c.record.SnapshotKey)
}

// whyNot says that the container has ended, if that is why the door gave err.
func (c *Container) whyNot(ctx context.Context, err error) error {
	if !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	if c.ending.Load() {
		return reach.ErrClosed
	}
	s, serr := c.status(ctx)
	if serr != nil {
		return serr
	}
	return over(s)
}

// over is the error of what can't be done after the end.
func over(s containerd.Status) error {
	if s.Status != containerd.Stopped || s.ExitStatus == unknown {
		return invalid("it has ended")
	}
	return invalid("it has ended with %s", describe(int(s.ExitStatus)))
}
