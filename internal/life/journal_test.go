package life

import (
	"context"
	"errors"
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
	undo, err := j.begin(at, "me")
	require.NoError(t, err)
	p := j.Read()
	require.Equal(t, 1, p.Lives)
	require.WithinDuration(t, at, p.Started, 0)
	require.Equal(t, "me", p.Owner)
	undo()
	require.Zero(t, j.Read())
	_, err = j.begin(at, "me")
	require.NoError(t, err)
	require.NoError(t, j.end(Exit{Code: 3, OOMKilled: true}))
	p = j.Read()
	require.Equal(t, Exit{Code: 3, OOMKilled: true}, *p.Exit)
	require.Empty(t, p.Owner)
	undo, err = j.begin(at, "")
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

// A container of which the runtime has nothing is what its journal says.
func TestPast(t *testing.T) {
	gone := errors.New("gone")
	a := &Asked{Journal: &Journal{Dir: t.TempDir()}, Gone: func(err error) bool { return errors.Is(err, gone) }}
	require.EqualValues(t, "created", a.past().State)
	_, err := a.Journal.begin(time.Now(), "")
	require.NoError(t, err)
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
	require.NoError(t, a.Journal.end(Exit{Code: 7}))
	require.Equal(t, 7, a.past().Exit.Code)
	a.Journal.Dir += "/gone"
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
}
