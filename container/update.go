package container

import (
	"context"
	"errors"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/restart"
	"github.com/ctorhq/ctor/internal/spec"
)

// Update gives the container other limits, in this life, if it has begun, and those
// to come. l is all of them: what is zero is as if New had been called with it.
// Ulimits, Shm, OOMScore, Devices and Disk can't be changed: in l they are zero, or what
// they were.
//
// What is wrong with l is ctor.ErrInvalid, and what this host can't give
// ctor.ErrUnavailable. Less memory than the container uses already is ctor.ErrInvalid,
// and so are the limits of a detached container with a restart policy: its shim starts
// it again with those that it was made with. When Update fails the limits are what they
// were.
func (c *Container) Update(ctx context.Context, l Limits) error {
	return c.wrap("update", c.call(ctx, func(ctx context.Context) error { return c.update(ctx, l) }))
}

func (c *Container) update(ctx context.Context, l Limits) error {
	limits, err := l.spec()
	if err != nil {
		return err
	}
	switch {
	case l.Disk != 0 && l.Disk != c.about.Disk:
		return invalid("Disk is what the container was made with")
	case c.detached() && c.mender.Policy != restart.No:
		return invalid("a detached container with a restart policy is started again by its shim, with the limits that it was made with")
	}
	key := "limits " + c.ID()
	if err := c.e.Lock(ctx, key); err != nil {
		return err
	}
	defer c.e.Unlock(key)
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
	lives := s.Pid != 0 && s.State != containerd.Stopped
	if lives {
		if err := c.first().Limit(ctx, r.To); err != nil {
			return errors.Join(err, c.first().Limit(ctx, r.Back))
		}
	}
	record.Spec = r.Spec
	if _, err := c.e.Client.ContainerService().Update(ctx, record, "spec"); err != nil {
		if lives {
			err = errors.Join(err, c.first().Limit(ctx, r.Back))
		}
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
