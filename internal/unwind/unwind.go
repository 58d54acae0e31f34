// Package unwind undoes what was half built: each step that takes something
// puts the way to give it back on a stack, and a step that fails runs the
// stack from its top.
package unwind

import (
	"errors"
	"io"
)

// Stack holds what is to be undone. The zero value is empty.
type Stack struct{ undo []func() error }

// Push adds a step.
func (s *Stack) Push(f func() error) { s.undo = append(s.undo, f) }

// Close adds the closing of c.
func (s *Stack) Close(c io.Closer) { s.Push(c.Close) }

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

// Run undoes everything, the last first, once.
func (s *Stack) Run() error {
	var errs []error
	for len(s.undo) > 0 {
		f := s.undo[len(s.undo)-1]
		s.undo = s.undo[:len(s.undo)-1]
		if err := f(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
