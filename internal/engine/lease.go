package engine

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
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
	m := e.Client.LeasesService()
	l, err := m.Create(ctx, leases.WithRandomID(),
		leases.WithExpiration(24*time.Hour),
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
		if derr := m.Delete(ctx, l, opts...); derr != nil {
			*err = errors.Join(*err, derr)
		}
	}, nil
}
