package unwind

import (
	"errors"
	"slices"
	"sync"
)

// Debt is what could not be undone when it should have been. The zero value is
// none. It is safe for use by any number of goroutines.
type Debt struct {
	settling sync.Mutex // held by a Settle
	mu       sync.Mutex
	owed     []*Stack
}

// Owe takes what is on a stack over. An empty one is no debt.
func (d *Debt) Owe(s *Stack) {
	if len(s.undo) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed = append(d.owed, s)
}

// Undo is for defer, in place of the stack's OnError: what could not be undone
// is owed.
func (d *Debt) Undo(s *Stack, err *error) {
	if *err == nil {
		return
	}
	s.OnError(err)
	d.Owe(s)
}

// Settle tries to undo what is owed. What still can't be undone stays owed, and
// is the error.
func (d *Debt) Settle() error {
	if len(d.list()) == 0 {
		return nil
	}
	d.settling.Lock()
	defer d.settling.Unlock()
	var errs []error
	for _, s := range d.list() {
		if err := s.Run(); err != nil {
			errs = append(errs, err)
			continue
		}
		d.mu.Lock()
		d.owed = slices.DeleteFunc(d.owed, func(o *Stack) bool { return o == s })
		d.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (d *Debt) list() []*Stack {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.owed)
}
