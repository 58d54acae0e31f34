package engine

import (
	"context"
	"sync"
)

// Lock makes two calls of one engine that are about to do the same, by its
// name, take turns: the second finds it done. It has the form that containerd's
// unpacker asks for.
func (e *Engine) Lock(ctx context.Context, name string) error { return e.turns.lock(ctx, name) }

// Unlock ends what Lock began.
func (e *Engine) Unlock(name string) { e.turns.unlock(name) }

// turns is a mutex for each name. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	token chan struct{} // holds one while nobody has the lock
	users int
}

func (k *turns) lock(ctx context.Context, name string) error {
	k.mu.Lock()
	t := k.held[name]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		if k.held == nil {
			k.held = map[string]*turn{}
		}
		k.held[name] = t
	}
	t.users++
	k.mu.Unlock()
	select {
	case <-t.token:
		return nil
	case <-ctx.Done():
		k.leave(name)
		return ctx.Err()
	}
}

func (k *turns) unlock(name string) {
	k.mu.Lock()
	k.held[name].token <- struct{}{}
	k.mu.Unlock()
	k.leave(name)
}

func (k *turns) leave(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[name].users--; k.held[name].users == 0 {
		delete(k.held, name)
	}
}
