// Package pool keeps things ready that take long to make: a bounded number of them,
// each watched as long as it waits, and replaced in the background when it is taken or
// is no use any more. What they are is their maker's business.
//
// Things are made one at a time. When that fails, or when more of them are lost in a
// row than the pool keeps, it stops, so that nothing is tried over and over while no
// caller wants one; the next Refill begins again.
package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// A Thing is what waits in a pool.
type Thing interface {
	// Await returns when the thing is no use any more, or when ctx ends.
	Await(ctx context.Context)

	// Discard frees what the thing has. It is called once, of a thing that was not
	// taken.
	Discard() error
}

var (
	// ErrClosed is the error of a pool that is closed.
	ErrClosed = errors.New("the pool is closed")

	// ErrNever is what a maker gives where nothing can be kept ready: the pool then
	// stays empty, which is no failure.
	ErrNever = errors.New("nothing can be kept ready")

	errLost = errors.New("what was ready has ended before it was taken")
)

// Pool keeps things of one kind ready. It is safe for use by any number of goroutines.
type Pool[T Thing] struct {
	size    int
	maker   func(context.Context) (T, error)
	ctx     context.Context    // of what is done in the background
	stop    context.CancelFunc // ends it
	working sync.WaitGroup     // what is made, watched and thrown away

	mu     sync.Mutex
	idle   []*waiting[T] // the oldest first
	making chan struct{} // closed when the making that is under way is over; nil: there is none
	lost   int           // things, since the last Refill
	failed error         // why no more are made before the next Refill; nil: they are
	never  bool          // ErrNever
	closed bool
	left   []error     // what could not be thrown away
	tell   func(error) // hears of what goes wrong in the background
}

// waiting is a thing in the pool.
type waiting[T Thing] struct {
	thing T
	leave context.CancelFunc // ends the watch over it
}

// New makes a pool of n things, which are ready when it returns. The error is the
// maker's, or that the things did not stay, or ctx's; then nothing is left of the pool.
// After that, tell hears of what goes wrong in the background, from any goroutine.
//
// The maker is called from one goroutine at a time. Its ctx ends when the pool is
// closed.
func New[T Thing](ctx context.Context, n int, maker func(context.Context) (T, error), tell func(error)) (*Pool[T], error) {
	p := &Pool[T]{size: n, maker: maker}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.fill(0)
	if _, err := p.Wait(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell = tell
	return p, nil
}

// Take takes the thing that has waited longest. It is the caller's from then on. ok is
// false if none waits. The error is ErrClosed.
func (p *Pool[T]) Take() (thing T, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return thing, false, ErrClosed
	}
	if len(p.idle) == 0 {
		return thing, false, nil
	}
	w := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	w.leave()
	return w.thing, true, nil
}

// breath is how long the caller of Take has the processors to itself, before another
// thing is made in place of what it took.
const breath = 10 * time.Millisecond

// Refill makes what is missing, in the background: after Take, or to try again what has
// failed.
func (p *Pool[T]) Refill() {
	p.mu.Lock()
	p.failed, p.lost = nil, 0
	p.mu.Unlock()
	p.fill(breath)
}

// Failed is why the last thing could not be made, or did not stay; nil: all is well, or
// it is tried again.
func (p *Pool[T]) Failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Wait waits until nothing is made in the background, and gives what is ready then, the
// oldest first, and why it is not more, as Failed does. The things stay the pool's. The
// error is ctx's if that ends before, and ErrClosed of a pool that is closed.
func (p *Pool[T]) Wait(ctx context.Context) (ready []T, err error) {
	for {
		p.mu.Lock()
		over := p.making
		if over == nil {
			defer p.mu.Unlock()
			return p.ready()
		}
		p.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready is called with mu held.
func (p *Pool[T]) ready() (things []T, err error) {
	if p.closed {
		return nil, ErrClosed
	}
	for _, w := range p.idle {
		things = append(things, w.thing)
	}
	return things, p.failed
}

// Close throws away what waits, and waits for all that is done in the background. What
// was taken goes on. A second Close waits for the first, and gives the same error: what
// could not be thrown away.
func (p *Pool[T]) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, w := range p.idle {
		p.working.Go(func() { p.discard(w.thing) })
	}
	p.idle = nil
	p.mu.Unlock()
	p.stop()
	p.working.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.left...)
}

func (p *Pool[T]) discard(thing T) {
	if err := thing.Discard(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left = append(p.left, err)
	}
}
