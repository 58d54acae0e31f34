package services

import (
	"context"
	"errors"
	"sync"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	bolt "go.etcd.io/bbolt"
)

// lessor is the lease manager, with the changes that are asked for while the database
// is being written made in one transaction, the next. Each transaction waits for the
// disk twice; builds side by side make hundreds of changes of leases, which nothing but
// the database knows of: those can be made again if another one of a transaction fails.
type lessor struct {
	leases.Manager
	update func(func(*bolt.Tx) error) error

	mu      sync.Mutex
	waiting []*change
	writing bool // one of the callers makes changes
}

// change is one call, which its caller waits for.
type change struct {
	ctx  context.Context
	make func(context.Context) error
	err  error
	turn chan bool // true: it is the caller's turn to make all that wait; false: it is made
}

// Create implements leases.Manager.
func (l *lessor) Create(ctx context.Context, opts ...leases.Opt) (made leases.Lease, err error) {
	err = l.change(ctx, func(ctx context.Context) (err error) {
		made, err = l.Manager.Create(ctx, opts...)
		return err
	})
	return made, err
}

// Delete implements leases.Manager.
func (l *lessor) Delete(ctx context.Context, lease leases.Lease, opts ...leases.DeleteOpt) error {
	var o leases.DeleteOptions
	for _, opt := range opts {
		if err := opt(ctx, &o); err != nil {
			return err
		}
	}
	if o.Synchronous { // it waits for a collection, which waits for transactions
		return l.Manager.Delete(ctx, lease, opts...)
	}
	return l.change(ctx, func(ctx context.Context) error { return l.Manager.Delete(ctx, lease, opts...) })
}

// AddResource implements leases.Manager.
func (l *lessor) AddResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	return l.change(ctx, func(ctx context.Context) error { return l.Manager.AddResource(ctx, lease, r) })
}

// DeleteResource implements leases.Manager.
func (l *lessor) DeleteResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	return l.change(ctx, func(ctx context.Context) error { return l.Manager.DeleteResource(ctx, lease, r) })
}

// change makes a change, with others that wait.
func (l *lessor) change(ctx context.Context, f func(context.Context) error) error {
	if _, within := boltutil.Transaction(ctx); within {
		return f(ctx)
	}
	c := &change{ctx: ctx, make: f, err: errors.New("the change of a lease has panicked"), turn: make(chan bool, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, c)
	busy := l.writing
	l.writing = true
	l.mu.Unlock()
	if !busy || <-c.turn {
		l.write()
	}
	return c.err
}

// write makes what waits, the caller's change among it, and gives the turn to the first
// of those that have come meanwhile.
func (l *lessor) write() {
	l.mu.Lock()
	now := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	defer func() { // also when a change has panicked
		for _, c := range now {
			c.turn <- false // the caller's own is not read
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.writing = len(l.waiting) > 0; l.writing {
			l.waiting[0].turn <- true
		}
	}()
	if len(now) > 1 && l.together(now) == nil {
		return
	}
	for _, c := range now {
		c.err = c.make(c.ctx)
	}
}

// together makes changes in one transaction: all, or none if one fails.
func (l *lessor) together(all []*change) error {
	err := l.update(func(tx *bolt.Tx) error {
		for _, c := range all {
			if err := c.make(boltutil.WithTransaction(c.ctx, tx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		for _, c := range all {
			c.err = nil
		}
	}
	return err
}
