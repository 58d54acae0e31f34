package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Turns are taken in the order in which they were asked for, whoever gives up
// meanwhile.
func TestTurnsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			e    Engine
			wg   sync.WaitGroup
			mu   sync.Mutex
			got  []int
			want []int
		)
		require.NoError(t, e.Lock(t.Context(), "x"))
		impatient, giveUp := context.WithCancel(t.Context())
		for n := range 20 {
			ctx := t.Context()
			if n%3 == 0 {
				ctx = impatient
			} else {
				want = append(want, n)
			}
			wg.Go(func() {
				turn, err := e.Take(ctx, "x", hour) // which looks for progress meanwhile
				if err != nil {
					return
				}
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
				turn.End()
			})
			synctest.Wait() // it waits
			if n == 10 {
				time.Sleep(hour / 3) // those that wait have looked: they keep their places
			}
		}
		giveUp()
		synctest.Wait()
		e.Unlock("x")
		wg.Wait()
		require.Equal(t, want, got)
		require.Empty(t, e.turns.held)
	})
}

// hour is longer than any test.
const hour = time.Hour

// A turn without progress is lost to a call that waits, and to one only.
func TestTurnLost(t *testing.T) {
	var e Engine
	first, err := e.Take(t.Context(), "a", hour)
	require.NoError(t, err)
	other, err := e.Take(t.Context(), "b", hour)
	require.NoError(t, err, "another name is another turn")
	other.End()
	first.Advance(progress - 1) // which is none
	second, err := e.Take(t.Context(), "a", time.Millisecond)
	require.NoError(t, err)
	first.Advance(progress)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.Take(ctx, "a", hour)
	require.ErrorIs(t, err, context.Canceled, "the second has it")
	first.End()
	_, err = e.Take(ctx, "a", hour)
	require.ErrorIs(t, err, context.Canceled, "and still has")
	second.End()
	third, err := e.Take(t.Context(), "a", hour)
	require.NoError(t, err)
	third.End()
	require.Empty(t, e.turns.held)
}

// Those who wait for a turn that is lost wait for the next.
func TestTurnLostByMany(t *testing.T) {
	var e Engine
	stuck, err := e.Take(t.Context(), "a", hour)
	require.NoError(t, err)
	got := make(chan *Turn)
	for range 8 {
		go func() {
			next, err := e.Take(context.Background(), "a", 50*time.Millisecond)
			if err != nil {
				t.Error(err)
			}
			got <- next
		}()
	}
	for range 8 {
		(<-got).End()
	}
	stuck.End()
	require.Empty(t, e.turns.held)
}

// Progress is what comes, not that something comes.
func TestTurnProgress(t *testing.T) {
	var e Engine
	turn, err := e.Take(t.Context(), "a", hour)
	require.NoError(t, err)
	turn.turn.since.Store(int64(time.Since(began) - 2*hour))
	for range progress - 1 {
		turn.Advance(1)
	}
	require.Negative(t, turn.turn.left(hour))
	turn.Advance(1)
	require.Positive(t, turn.turn.left(hour))
}
