package build

import (
	"context"
	"sync"
)

// turns are of those who use something that has a name: many together, or one
// alone.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn
}

func newTurns() *turns { return &turns{all: map[string]*turn{}} }

type turn struct {
	users int // -1: one alone
	ended chan struct{}
}

// take waits for a turn, until end.
func (t *turns) take(ctx context.Context, name string, alone bool) (end func(), err error) {
	for {
		t.mu.Lock()
		now := t.all[name]
		if now == nil || !alone && now.users > 0 {
			if now == nil {
				now = &turn{ended: make(chan struct{})}
				t.all[name] = now
			}
			if alone {
				now.users = -1
			} else {
				now.users++
			}
			t.mu.Unlock()
			return sync.OnceFunc(func() { t.end(name, now) }), nil
		}
		t.mu.Unlock()
		select {
		case <-now.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns) end(name string, now *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now.users = max(now.users, 1) - 1
	if now.users == 0 {
		delete(t.all, name)
		close(now.ended)
	}
}
