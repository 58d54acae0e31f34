package reach

import (
	"context"
	"errors"
	"sync"
)

// A tie binds a listener to the life of its container.
type tie struct {
	door   *door
	cancel context.CancelFunc // ends the goroutine that waits
	end    func() error

	once sync.Once
	err  error
}

// tie has end called when the container or the engine ends, or Close is
// called, whichever comes first. When tie fails, it has called end.
func (d *door) tie(end func() error) (*tie, error) {
	life, cancel := context.WithCancel(d.here.life)
	t := &tie{door: d, cancel: cancel, end: end}
	if err := d.add(t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	ended := d.c.Ended(life)
	go func() {
		select {
		case <-ended:
		case <-life.Done():
		}
		_ = t.Close()
	}()
	return t, nil
}

func (t *tie) Close() error {
	t.once.Do(func() {
		t.cancel()
		t.door.remove(t)
		t.err = t.end()
	})
	return t.err
}

func (d *door) add(t *tie) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.serving == nil {
		d.serving = map[*tie]struct{}{}
	}
	d.serving[t] = struct{}{}
	return nil
}

func (d *door) remove(t *tie) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.serving, t)
}
