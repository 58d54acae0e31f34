package unwind_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/unwind"
)

// A debt is what is left of stacks, until it is settled.
func TestDebt(t *testing.T) {
	var d unwind.Debt
	require.NoError(t, d.Settle())
	stuck, broken := errors.New("stuck"), errors.New("broken")
	fails, calls := stuck, 0
	build := func(fail error) (err error) {
		var undo unwind.Stack
		defer d.Undo(&undo, &err)
		undo.Push(func() error { calls++; return fails })
		return fail
	}
	require.NoError(t, build(nil))
	require.NoError(t, d.Settle(), "what was built is no debt")
	require.Zero(t, calls)
	err := build(broken)
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, stuck)
	require.Equal(t, 1, calls)
	require.ErrorIs(t, d.Settle(), stuck)
	fails = nil
	require.NoError(t, d.Settle())
	require.Equal(t, 3, calls)
	require.NoError(t, d.Settle())
	require.Equal(t, 3, calls, "it is settled")
}

// Each thing owed is undone once, whoever settles.
func TestDebtRace(t *testing.T) {
	var d unwind.Debt
	var wg sync.WaitGroup
	var mu sync.Mutex
	undone := map[int]int{}
	for n := range 8 {
		wg.Go(func() {
			for i := range 100 {
				var s unwind.Stack
				s.Push(func() error {
					mu.Lock()
					defer mu.Unlock()
					undone[n*100+i]++
					return nil
				})
				d.Owe(&s)
				if err := d.Settle(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, d.Settle())
	require.Len(t, undone, 800)
	for _, times := range undone {
		require.Equal(t, 1, times)
	}
}
