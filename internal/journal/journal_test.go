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
	j := &Journal{Dir: t.TempDir()}
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
	j := &Journal{Dir: t.TempDir()}
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
	_, err = (&Journal{Dir: filepath.Join(j.Dir, "gone")}).Lock(over)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}
