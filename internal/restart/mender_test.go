package restart

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/journal"
)

// life begins and ends one with an exit code.
func life(t *testing.T, j *journal.Journal, code int) {
	t.Helper()
	_, err := j.Begin(time.Now(), "")
	require.NoError(t, err)
	require.NoError(t, j.End(journal.Exit{Code: code}))
}

func always() bool { return true }

// A life that can't begin counts as one, after which the next pause is longer.
func TestMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Mender{Policy: 3, Journal: journal.InMemory()}
		life(t, m.Journal, 1)
		began := time.Now()
		var at []time.Duration
		m.Mend(t.Context(), 0, func() error {
			at = append(at, time.Since(began))
			return m.Revive(t.Context(), always, func() error { return errors.New("it can't") })
		})
		require.Equal(t, []time.Duration{first, 3 * first, 7 * first}, at)
		require.Equal(t, 3, m.Journal.Read().Restarts)
		require.False(t, m.Pending(1, journal.Exit{Code: 1}))

		undo, err := m.Wanted()
		require.NoError(t, err)
		require.True(t, m.Pending(1, journal.Exit{Code: 1}), "a caller's start counts anew")
		undo()
		require.False(t, m.Pending(1, journal.Exit{Code: 1}))
	})
}

// Nothing begins that is not wanted any more, or that is over.
func TestMendHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Mender{Policy: Always, Journal: journal.InMemory()}
		life(t, m.Journal, 0)
		never := func() error { t.Error("it has begun"); return nil }
		require.NoError(t, m.Revive(t.Context(), func() bool { return false }, never))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		m.Mend(ended, 0, never)

		mended := make(chan struct{})
		go func() {
			defer close(mended)
			m.Mend(t.Context(), 0, func() error { return m.Revive(t.Context(), always, never) })
		}()
		synctest.Wait() // it is in its pause
		require.NoError(t, m.Halt(t.Context()))
		<-mended

		unlock, err := m.Journal.Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		require.NoError(t, m.Revive(ended, always, never), "another caller is starting it")
	})
}

// The next life of a container is another program's.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Mender{Policy: Always, Journal: journal.InMemory()}
		life(t, m.Journal, 3)
		go func() {
			time.Sleep(time.Hour)
			_, _ = m.Journal.Begin(time.Now(), "")
		}()
		require.True(t, m.Follow(t.Context(), 1, journal.Exit{Code: 3}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.False(t, m.Follow(ctx, 2, journal.Exit{Code: 3}))
		require.NoError(t, m.Halt(t.Context()))
		require.False(t, m.Follow(t.Context(), 2, journal.Exit{Code: 3}))
	})
}
