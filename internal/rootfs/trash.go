package rootfs

import (
	"errors"
	"sync"
)

// Trash discards directories after its callers have gone on: a container's files are
// not what the end of the container has to wait for. The zero value is ready for use,
// by any number of goroutines.
type Trash struct {
	mu      sync.Mutex
	waiting []string
	emptied chan struct{} // closed when none waits any more; nil: none does
	left    []string      // could not be discarded
}

// backlog is how many directories may wait. A program that makes containers faster
// than their files can be discarded discards some itself.
const backlog = 64

// Put has a directory discarded, whose name is not used again. What can't be
// discarded is tried again with those that come later, and told by Empty.
func (t *Trash) Put(dir string) {
	t.mu.Lock()
	if len(t.waiting) >= backlog {
		t.mu.Unlock()
		t.discard(dir)
		return
	}
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, dir)
	if t.emptied == nil {
		t.emptied = make(chan struct{})
		go t.run()
	}
}

func (t *Trash) run() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting, t.left = append(t.waiting, t.left...), nil // it may have become possible
	for len(t.waiting) > 0 {
		dir := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.mu.Unlock()
		t.discard(dir)
		t.mu.Lock()
	}
	close(t.emptied)
	t.emptied = nil
}

func (t *Trash) discard(dir string) {
	if Discard(dir) == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = append(t.left, dir)
}

// Empty waits until all is discarded. It tries once more what could not be, and tells
// of what still can't.
func (t *Trash) Empty() error {
	t.mu.Lock()
	for emptied := t.emptied; emptied != nil; emptied = t.emptied {
		t.mu.Unlock()
		<-emptied
		t.mu.Lock()
	}
	left := t.left
	t.left = nil
	t.mu.Unlock()
	var errs []error
	for _, dir := range left {
		if err := Discard(dir); err != nil {
			errs = append(errs, err)
			t.mu.Lock()
			t.left = append(t.left, dir)
			t.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}
