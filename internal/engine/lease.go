package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// leaseLabel marks the leases of calls with the process that makes them, so
// that a later engine can tell those of a program that was killed.
const leaseLabel = "io.ctor.call"

// Lease keeps what a call makes from being collected until release, after
// which only what has an owner stays. When the call failed, release waits
// until everything it made is gone. It is for defer:
//
//	ctx, release, err := e.Lease(ctx)
//	...
//	defer release(&err)
func (e *Engine) Lease(ctx context.Context) (_ context.Context, release func(*error), err error) {
	return e.lease(ctx, rand.Text(), nil)
}

// leaseTime is how long a lease lasts that its call does not end.
const leaseTime = 24 * time.Hour

func (e *Engine) lease(ctx context.Context, id string, labels map[string]string) (_ context.Context, release func(*error), err error) {
	m := e.Client.LeasesService()
	l, err := m.Create(ctx, leases.WithID(id),
		leases.WithLabels(labels),
		leases.WithExpiration(leaseTime),
		leases.WithLabel(leaseLabel, Owner()))
	if err != nil {
		return nil, nil, err
	}
	return leases.WithLease(ctx, l.ID), func(err *error) {
		ctx, cancel := e.Cleanup(ctx)
		defer cancel()
		var opts []leases.DeleteOpt
		if *err != nil {
			opts = append(opts, leases.SynchronousDelete)
		}
		derr := e.undo(ctx, "delete lease "+l.ID, func(ctx context.Context) error { return m.Delete(ctx, l, opts...) })
		if derr != nil {
			*err = errors.Join(*err, derr)
		}
	}, nil
}

// Collect removes now what nothing keeps.
func (e *Engine) Collect(ctx context.Context) error {
	m := e.Client.LeasesService()
	l, err := m.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseTime), leases.WithLabel(leaseLabel, Owner()))
	if err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	if err := m.Delete(ctx, l, leases.SynchronousDelete); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}

// HoldContent has the lease in ctx keep a blob, and what it refers to, whether
// that is there yet or not: what is found in the store after HoldContent stays
// there. Whatever is found before may be collected at any time.
func (e *Engine) HoldContent(ctx context.Context, d digest.Digest) error {
	return e.hold(ctx, "content", d.String())
}

// HoldSnapshot is HoldContent for a snapshot, and those below it.
func (e *Engine) HoldSnapshot(ctx context.Context, snapshotter, key string) error {
	return e.hold(ctx, "snapshots/"+snapshotter, key)
}

func (e *Engine) hold(ctx context.Context, kind, id string) error {
	lease, ok := leases.FromContext(ctx)
	if !ok {
		return fmt.Errorf("hold %s %s without a lease: %w", kind, id, errdefs.ErrInternal)
	}
	r := leases.Resource{Type: kind, ID: id}
	if err := e.Client.LeasesService().AddResource(ctx, leases.Lease{ID: lease}, r); err != nil {
		return fmt.Errorf("hold %s %s: %w", kind, id, err)
	}
	return nil
}
