package engine

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ctorhq/ctor/egress"
)

// Decisions passes on what the ways out of containers decide, to those that ask for it.
// The zero value is ready for use, by any number of goroutines.
type Decisions struct {
	asked   atomic.Bool // there are readers
	mu      sync.Mutex
	readers map[*reader]struct{}
}

// reader is one of them, all of it guarded by the lock of its Decisions.
type reader struct {
	waiting []egress.Decision
	missed  int           // that came while as many waited as may
	more    chan struct{} // holds a word when there is something
}

// maxDecisions is how many may wait for one reader: a container can make very many.
const maxDecisions = 1024

// Asked tells whether there is a reader.
func (d *Decisions) Asked() bool { return d.asked.Load() }

// Tell tells all readers. It waits for none.
func (d *Decisions) Tell(decision egress.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.readers {
		if len(r.waiting) == maxDecisions {
			r.missed++
			continue
		}
		r.waiting = append(r.waiting, decision)
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
}

// Read gives what is decided from the time of the call on, until ctx ends. Instead of
// a decision it gives how many were missed by a reader that was too slow, before those
// that came later.
func (d *Decisions) Read(ctx context.Context) iter.Seq2[egress.Decision, int] {
	r := &reader{more: make(chan struct{}, 1)}
	d.add(r)
	context.AfterFunc(ctx, func() { d.remove(r) })
	return func(yield func(egress.Decision, int) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.more:
			}
			waiting, missed := d.take(r)
			for _, decision := range waiting {
				if ctx.Err() != nil || !yield(decision, 0) {
					return
				}
			}
			if missed > 0 && !yield(egress.Decision{}, missed) {
				return
			}
		}
	}
}

func (d *Decisions) take(r *reader) (waiting []egress.Decision, missed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, missed = r.waiting, r.missed
	r.waiting, r.missed = nil, 0
	return waiting, missed
}

func (d *Decisions) add(r *reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readers == nil {
		d.readers = map[*reader]struct{}{}
	}
	d.readers[r] = struct{}{}
	d.asked.Store(true)
}

func (d *Decisions) remove(r *reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.readers, r)
	d.asked.Store(len(d.readers) > 0)
}
