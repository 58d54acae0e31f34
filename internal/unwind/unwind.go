// Package unwind undoes what was half built: each step that takes something
// puts the way to give it back on a stack, and a step that fails runs the
// stack from its top. What could not be undone then is a debt, which somebody
// who lives longer settles.
package unwind

import (
	"errors"
	"io"
	"slices"
)

// Stack holds what is to be undone. The zero value is empty.
type Stack struct {
	undo  []func() error
	stuck []func() error // by the Run that is under way, the last first
}

// Push adds a step. If it fails it may be called again later.
func (s *Stack) Push(f func() error) { s.undo = append(s.undo, f) }

// Once adds a step that is not called again, even if it fails: what it gives
// back is this process's alone, and gone.
func (s *Stack) Once(f func() error) {
	done := false
	s.Push(func() error {
		if done {
			return nil
		}
		done = true
		return f()
	})
}

// Close adds the closing of c, once.
func (s *Stack) Close(c io.Closer) { s.Once(c.Close) }

// OnError is for defer: it runs the stack if *err is set, and joins to it what
// could not be undone.
func (s *Stack) OnError(err *error) {
	if *err == nil {
		return
	}
	if uerr := s.Run(); uerr != nil {
		*err = errors.Join(*err, uerr)
	}
}

// Run undoes everything, the last first. What could not be undone stays on the
// stack.
func (s *Stack) Run() error {
	var errs []error
	for len(s.undo) > 0 {
		f := s.undo[len(s.undo)-1]
		s.undo = s.undo[:len(s.undo)-1]
		if err := f(); err != nil {
			errs = append(errs, err)
			s.stuck = append(s.stuck, f)
		}
	}
	slices.Reverse(s.stuck)
	s.undo, s.stuck = s.stuck, nil
	return errors.Join(errs...)
}

// Stuck tells a step whether one of those that were undone before it could not
// be.
func (s *Stack) Stuck() bool { return len(s.stuck) > 0 }
