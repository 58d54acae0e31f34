package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Lock makes two calls of one engine that are about to do the same, by its
// name, take turns: the second finds it done. What is done in the turn must not
// have to wait for anything outside this process: see Take.
func (e *Engine) Lock(ctx context.Context, name string) error {
	_, err := e.turns.take(ctx, name, 0)
	return err
}

// Unlock ends what Lock began.
func (e *Engine) Unlock(name string) { e.turns.end(name, nil) }

// Take is Lock for what another host may hold up, as a registry does. A turn
// that shows no progress for as long as patience is lost to a call that waits for
// it: then both do the same, each for itself. End ends the turn.
func (e *Engine) Take(ctx context.Context, name string, patience time.Duration) (*Turn, error) {
	t, err := e.turns.take(ctx, name, patience)
	if err != nil {
		return nil, err
	}
	return &Turn{&e.turns, name, t}, nil
}

// Try is Take, if no other call has the turn; else nil.
func (e *Engine) Try(name string) *Turn {
	t := e.turns.join(name)
	select {
	case <-t.token:
		t.advance()
		return &Turn{&e.turns, name, t}
	default:
		e.turns.leave(name, t)
		return nil
	}
}

// Turn is a turn that can be lost.
type Turn struct {
	of   *turns
	name string
	turn *turn
}

// progress is how many bytes are one. A call that gets a byte now and then would
// else hold all others up.
const progress = 128 << 10

// Advance tells that bytes have come.
func (t *Turn) Advance(bytes int) {
	if t.turn.bytes.Add(int64(bytes)) >= progress {
		t.turn.advance()
	}
}

// End ends the turn, lost or not.
func (t *Turn) End() { t.of.end(t.name, t.turn) }

// turns is a mutex for each name. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	token chan struct{} // holds one while the turn is free
	lost  chan struct{} // closed when its holder has lost it: there is another turn of the name
	users int           // guarded by turns.mu

	bytes atomic.Int64 // since the last progress
	since atomic.Int64 // when that was, in nanoseconds since began
}

var began = time.Now()

func (t *turn) advance() {
	t.bytes.Store(0)
	t.since.Store(int64(time.Since(began)))
}

// left is how long the one who has the turn still has to show progress.
func (t *turn) left(patience time.Duration) time.Duration {
	return patience - (time.Since(began) - time.Duration(t.since.Load()))
}

func (k *turns) take(ctx context.Context, name string, patience time.Duration) (*turn, error) {
	for {
		t := k.join(name)
		has, err := t.wait(ctx, patience)
		if has {
			t.advance()
			return t, nil
		}
		if err == nil {
			k.replace(name, t)
		}
		k.leave(name, t)
		if err != nil {
			return nil, err
		}
	}
}

// wait waits for the turn, or until it is lost, which is no error. It waits in
// one select that it does not leave: so callers have their turns in the order in
// which they came.
func (t *turn) wait(ctx context.Context, patience time.Duration) (has bool, err error) {
	done := make(chan struct{})
	defer close(done)
	select {
	case <-t.token:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-t.lost:
		return false, nil
	case <-t.stalled(patience, done):
		return false, nil
	}
}

// stalled is closed when the turn has shown no progress for as long as patience;
// never, if that is 0, or done is closed before.
func (t *turn) stalled(patience time.Duration, done <-chan struct{}) <-chan struct{} {
	if patience <= 0 {
		return nil
	}
	stalled := make(chan struct{})
	go func() {
		look := time.NewTicker(patience / 4)
		defer look.Stop()
		for {
			select {
			case <-done:
				return
			case <-look.C:
				if t.left(patience) <= 0 {
					close(stalled)
					return
				}
			}
		}
	}()
	return stalled
}

func (k *turns) join(name string) *turn {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.held[name]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1), lost: make(chan struct{})}
		t.token <- struct{}{}
		if k.held == nil {
			k.held = map[string]*turn{}
		}
		k.held[name] = t
	}
	t.users++
	return t
}

// replace makes the holder of a turn lose it, unless another call was faster.
func (k *turns) replace(name string, t *turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[name] == t {
		delete(k.held, name)
		close(t.lost)
	}
}

// end ends a turn; nil is the name's, which was not lost.
func (k *turns) end(name string, t *turn) {
	k.mu.Lock()
	if t == nil {
		t = k.held[name]
	}
	t.token <- struct{}{}
	k.mu.Unlock()
	k.leave(name, t)
}

func (k *turns) leave(name string, t *turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.users--; t.users == 0 && k.held[name] == t {
		delete(k.held, name)
	}
}
