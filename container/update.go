package container

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Update gives the container other limits, in this life, if it has begun, and those
// to come. l is all of them: what is zero is as if New had been called with it.
// Ulimits, Shm, OOMScore, Devices and Disk can't be changed: in l they are zero, or what
// they were.
//
// What is wrong with l is ctor.ErrInvalid, and what this host can't give
// ctor.ErrUnavailable. Less memory than the container can do with is ctor.ErrInvalid:
// what the kernel can let go of, such as the contents of files, goes. When Update fails
// the limits are what they were.
func (c *Container) Update(ctx context.Context, l Limits) error {
	return c.wrap("update", c.call(ctx, func(ctx context.Context) error { return c.update(ctx, l) }))
}

func (c *Container) update(ctx context.Context, l Limits) (err error) {
	limits, err := l.spec()
	if err != nil {
		return err
	}
	if l.Disk != 0 && l.Disk != c.about.Disk {
		return invalid("Disk is what the container was made with")
	}
	key := "limits " + c.ID()
	if err := c.e.Lock(ctx, key); err != nil {
		return err
	}
	defer c.e.Unlock(key)
	if c.detached() { // its shim may be about to begin the next life
		unlock, err := c.journal.Lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	record, err := c.e.Client.ContainerService().Get(ctx, c.ID())
	if err != nil {
		return err
	}
	r, err := spec.Relimit(record.Spec, limits)
	if err != nil {
		return err
	}
	if err := l.keeps(r.Was); err != nil {
		return err
	}
	if err := c.e.Backend.Permits(r.Becomes); err != nil {
		return err
	}
	s, err := c.life().Status(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.e.Cleanup(ctx) // from here on it is done, or undone
	defer cancel()
	var undo unwind.Stack
	defer undo.OnError(&err)
	if s.Pid != 0 && s.State != containerd.Stopped {
		undo.Push(func() error { return c.first().Limit(ctx, r.Back) })
		if err := c.first().Limit(ctx, r.To); err != nil {
			return err
		}
	}
	if c.detached() {
		undo.Push(func() error { return c.e.Backend.Relimit(ctx, c.ID(), r.Was.Linux.Resources) })
		if err := c.e.Backend.Relimit(ctx, c.ID(), r.Becomes.Linux.Resources); err != nil {
			return err
		}
	}
	record.Spec = r.Spec
	if _, err := c.e.Client.ContainerService().Update(ctx, record, "spec"); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// keeps finds what would have to change that can't.
func (l Limits) keeps(s *specs.Spec) error {
	f, err := l.fixed()
	if err != nil {
		return err
	}
	if !f.In(s) {
		return invalid("Ulimits, Shm, OOMScore and Devices are what the container was made with")
	}
	return nil
}
