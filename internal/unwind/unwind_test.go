package unwind_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/unwind"
)

type closer func() error

func (c closer) Close() error { return c() }

var _ io.Closer = closer(nil)

func TestOnError(t *testing.T) {
	var done []string
	step := func(name string, err error) func() error {
		return func() error { done = append(done, name); return err }
	}
	broken, stuck := errors.New("broken"), errors.New("stuck")
	build := func(fail error) (err error) {
		var undo unwind.Stack
		defer undo.OnError(&err)
		undo.Push(step("first", nil))
		undo.Push(step("second", stuck))
		undo.Close(closer(step("third", nil)))
		return fail
	}
	require.NoError(t, build(nil))
	require.Empty(t, done, "what was built stays")

	err := build(broken)
	require.Equal(t, []string{"third", "second", "first"}, done, "the last first, and none left out")
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, stuck)
}

func TestOnErrorPlain(t *testing.T) {
	broken := errors.New("broken")
	var undo unwind.Stack
	undo.Push(func() error { return nil })
	err := broken
	undo.OnError(&err)
	require.Same(t, broken, err, "an error is not wrapped for nothing")
}

func TestRunOnce(t *testing.T) {
	var n int
	var undo unwind.Stack
	undo.Push(func() error { n++; return nil })
	require.NoError(t, undo.Run())
	require.NoError(t, undo.Run())
	require.Equal(t, 1, n)
}

// What could not be undone is tried again, in the same order; what was closed is
// not.
func TestRunAgain(t *testing.T) {
	var done []string
	stuck := errors.New("stuck")
	fails := stuck
	step := func(name string, err *error) func() error {
		return func() error { done = append(done, name); return *err }
	}
	var none error
	var undo unwind.Stack
	undo.Push(func() error {
		require.True(t, undo.Stuck())
		return nil
	})
	undo.Push(step("first", &fails))
	undo.Close(closer(step("closed", &fails)))
	undo.Push(step("second", &none))
	undo.Push(step("third", &fails))
	require.ErrorIs(t, undo.Run(), stuck)
	require.Equal(t, []string{"third", "second", "closed", "first"}, done)
	done = nil
	require.ErrorIs(t, undo.Run(), stuck)
	require.Equal(t, []string{"third", "first"}, done)
	fails = nil
	require.NoError(t, undo.Run())
	require.False(t, undo.Stuck())
	done = nil
	require.NoError(t, undo.Run())
	require.Empty(t, done)
}
