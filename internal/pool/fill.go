package pool

import (
	"context"
	"errors"
	"slices"
	"time"
)

// fill makes what is missing in the background, after a pause.
func (p *Pool[T]) fill(pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making != nil || !p.missing() {
		return
	}
	p.making = make(chan struct{})
	p.working.Go(func() {
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
		for p.goesOn() {
			p.note(p.add())
		}
	})
}

// missing tells whether something is to be made. It is called with mu held.
func (p *Pool[T]) missing() bool {
	return !p.never && !p.closed && p.failed == nil && len(p.idle) < p.size
}

// goesOn tells whether there is more to make. If not the making is over.
func (p *Pool[T]) goesOn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missing() {
		return true
	}
	close(p.making)
	p.making = nil
	return false
}

// add makes one thing more.
func (p *Pool[T]) add() error {
	thing, err := p.maker(p.ctx)
	if err == nil && !p.put(thing) {
		p.discard(thing)
	}
	return err
}

// note notes how the making of a thing came out.
func (p *Pool[T]) note(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrNever):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.never = true
	default:
		p.mu.Lock()
		p.failed = err
		p.mu.Unlock()
		p.report(err)
	}
}

// report tells what no caller is there to hear.
func (p *Pool[T]) report(err error) {
	p.mu.Lock()
	tell := p.tell
	if p.closed {
		tell = nil
	}
	p.mu.Unlock()
	if tell != nil {
		tell(err)
	}
}

// put takes a new thing in, and watches over it, unless the pool is closed.
func (p *Pool[T]) put(thing T) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	ctx, leave := context.WithCancel(p.ctx)
	w := &waiting[T]{thing, leave}
	p.idle = append(p.idle, w)
	p.working.Go(func() {
		defer leave()
		thing.Await(ctx)
		if p.bury(w) {
			p.report(errors.Join(errLost, thing.Discard()))
			p.fill(0)
		}
	})
	return true
}

// bury takes out what is no use any more, and tells whether it was waiting.
func (p *Pool[T]) bury(w *waiting[T]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := slices.Index(p.idle, w)
	if n < 0 {
		return false
	}
	p.idle = slices.Delete(p.idle, n, n+1)
	if p.lost++; p.lost > p.size {
		p.failed = errLost
	}
	return true
}
