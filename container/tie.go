package container

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// A tie binds a listener to the life of its container.
type tie struct {
	c      *Container
	cancel context.CancelFunc // ends the goroutine that waits
	end    func() error

	once sync.Once
	err  error
}

// tie has end called when the container or the engine ends, or Close is
// called, whichever comes first. Where it fails it does so itself.
func (c *Container) tie(end func() error) (*tie, error) {
	life, cancel := context.WithCancel(c.e.Life())
	t := &tie{c: c, cancel: cancel, end: end}
	if err := c.network.add(t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	ended := c.exited(life)
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
		t.c.network.remove(t)
		t.err = t.end()
	})
	return t.err
}

func (n *network) add(t *tie) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return errClosing
	}
	if n.serving == nil {
		n.serving = map[*tie]struct{}{}
	}
	n.serving[t] = struct{}{}
	return nil
}

func (n *network) remove(t *tie) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.serving, t)
}

// close ends all that listens. It keeps no file or network of the container
// from ending.
func (n *network) close() {
	n.mu.Lock()
	n.over = true
	serving := slices.Collect(maps.Keys(n.serving))
	process := n.process
	n.process = nil
	n.mu.Unlock()
	for _, t := range serving {
		_ = t.Close()
	}
	if process != nil {
		process.Close()
	}
}
