package ready

import (
	"context"
	"sync"
)

// A Ward has the containers whose health a program looks at. There is one look at a time
// at a container, and one answer, by however many values the program knows it. The zero
// value is ready for use.
type Ward struct {
	mu   sync.Mutex
	beds map[string]*bed
}

// bed is a container's, as long as a life of it is looked at.
type bed struct {
	life int
	now  Health
}

// Watch looks at the health of the container of an id in its life of a number, in the
// background, until that ends or ctx does. changed is told each verdict that is not the
// one before. Where a Watch looks at this life, or at a later one, it does nothing.
func (w *Ward) Watch(ctx context.Context, id string, life int, h *Healthcheck, c Subject, changed func(Verdict)) {
	b := w.admit(id, life)
	if b == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		c.Exited(ctx)
	}()
	go func() {
		defer w.discharge(id, b)
		Watch(ctx, h, c, func(now Health) {
			if was := w.note(b, now); was != now.Verdict {
				changed(now.Verdict)
			}
		})
	}()
}

// admit gives the container a bed for a life, unless it has one for that.
func (w *Ward) admit(id string, life int) *bed {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.beds[id]; b != nil && b.life >= life {
		return nil
	}
	if w.beds == nil {
		w.beds = map[string]*bed{}
	}
	b := &bed{life, Health{Verdict: Starting}}
	w.beds[id] = b
	return b
}

func (w *Ward) note(b *bed, now Health) (was Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was, b.now = b.now.Verdict, now
	return was
}

// discharge ends a life's look. The next life may have begun.
func (w *Ward) discharge(id string, b *bed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.beds[id] == b {
		delete(w.beds, id)
	}
}

// Health is that of the container of an id, if this program looks at it.
func (w *Ward) Health(id string) (now Health, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.beds[id]
	if b == nil {
		return Health{}, false
	}
	return b.now, true
}
