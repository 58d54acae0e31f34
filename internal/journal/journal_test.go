package journal

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

func TestJournal(t *testing.T) {
	for name, j := range map[string]*Journal{"directory": At(t.TempDir()), "memory": InMemory()} {
		t.Run(name, func(t *testing.T) { testJournal(t, j) })
	}
}

func testJournal(t *testing.T, j *Journal) {
	require.Zero(t, j.Read())
	at := time.Now()
	undo, err := j.Begin(at, "me")
	require.NoError(t, err)
	p := j.Read()
	require.Equal(t, 1, p.Lives)
	require.WithinDuration(t, at, p.Started, 0)
	require.Equal(t, "me", p.Owner)
	undo()
	require.Zero(t, j.Read())
	_, err = j.Begin(at, "me")
	require.NoError(t, err)
	require.NoError(t, j.End(Exit{Code: 3, OOMKilled: true}))
	p = j.Read()
	require.Equal(t, Exit{Code: 3, OOMKilled: true}, *p.Exit)
	require.Empty(t, p.Owner)
	undo, err = j.Begin(at, "")
	require.NoError(t, err)
	require.Nil(t, j.Read().Exit)
	undo()
	require.Equal(t, p, j.Read())
}

func TestJournalLock(t *testing.T) {
	dir := t.TempDir()
	for name, j := range map[string]*Journal{"directory": At(dir), "memory": InMemory()} {
		t.Run(name, func(t *testing.T) { testLock(t, j) })
	}
	_, err := At(filepath.Join(dir, "gone")).Lock(t.Context())
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

func testLock(t *testing.T, j *Journal) {
	unlock, err := j.Lock(t.Context())
	require.NoError(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = j.Lock(over)
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	got := make(chan error)
	go func() {
		unlock, err := j.Lock(t.Context())
		if err == nil {
			unlock()
		}
		got <- err
	}()
	unlock()
	require.NoError(t, <-got)
	unlock, err = j.Lock(over)
	require.NoError(t, err, "a lock that is free needs no waiting")
	unlock()
}

// What is noted of a life leaves alone what is noted of its policy, and the other
// way round, however they come together.
func TestChange(t *testing.T) {
	for name, j := range map[string]*Journal{"directory": At(t.TempDir()), "memory": InMemory()} {
		t.Run(name, func(t *testing.T) {
			_, err := j.Begin(time.Now(), "me")
			require.NoError(t, err)
			done := make(chan error)
			go func() { done <- j.End(Exit{Code: 1}) }()
			for range 100 {
				_, err := j.Change(func(p *Past) { p.Restarts++ })
				require.NoError(t, err)
			}
			_, err = j.Change(func(p *Past) { p.Stopped = true })
			require.NoError(t, err)
			require.NoError(t, <-done)
			p := j.Read()
			require.Equal(t, 1, p.Code())
			require.Equal(t, 100, p.Restarts)
			require.True(t, p.Stopped)
		})
	}
}
