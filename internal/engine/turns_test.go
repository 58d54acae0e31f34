package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Turns are taken in the order in which they were asked for, whoever gives up
// meanwhile.
func TestTurnsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			k    turns
			wg   sync.WaitGroup
			mu   sync.Mutex
			got  []int
			want []int
		)
		require.NoError(t, k.lock(t.Context(), "x"))
		impatient, giveUp := context.WithCancel(t.Context())
		for n := range 20 {
			ctx := t.Context()
			if n%3 == 0 {
				ctx = impatient
			} else {
				want = append(want, n)
			}
			wg.Go(func() {
				if k.lock(ctx, "x") != nil {
					return
				}
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
				k.unlock("x")
			})
			synctest.Wait() // it waits
		}
		giveUp()
		synctest.Wait()
		k.unlock("x")
		wg.Wait()
		require.Equal(t, want, got)
		require.Empty(t, k.held)
	})
}
