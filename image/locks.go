package image

import (
	"context"
	"sync"

	"github.com/ctorhq/ctor/internal/engine"
)

// locks keeps two pulls of one engine from fetching the same blob, or
// unpacking the same layer, at the same time: the second finds it done.
var locks keyedMutex

// keyedMutex is a mutex for each key. The zero value is ready.
type keyedMutex struct {
	mu   sync.Mutex
	held map[lockKey]*turn
}

type lockKey struct {
	e    *engine.Engine
	name string
}

type turn struct {
	token chan struct{} // holds one while nobody has the lock
	users int
}

func (k *keyedMutex) lock(ctx context.Context, key lockKey) error {
	k.mu.Lock()
	t := k.held[key]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		if k.held == nil {
			k.held = map[lockKey]*turn{}
		}
		k.held[key] = t
	}
	t.users++
	k.mu.Unlock()
	select {
	case <-t.token:
		return nil
	case <-ctx.Done():
		k.leave(key)
		return ctx.Err()
	}
}

func (k *keyedMutex) unlock(key lockKey) {
	k.mu.Lock()
	k.held[key].token <- struct{}{}
	k.mu.Unlock()
	k.leave(key)
}

func (k *keyedMutex) leave(key lockKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[key].users--; k.held[key].users == 0 {
		delete(k.held, key)
	}
}

// unpackLocks are the locks that containerd's unpacker asks for.
type unpackLocks struct{ e *engine.Engine }

func (l unpackLocks) Lock(ctx context.Context, key string) error {
	return locks.lock(ctx, lockKey{l.e, key})
}
func (l unpackLocks) Unlock(key string) { locks.unlock(lockKey{l.e, key}) }
