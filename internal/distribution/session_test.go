package distribution

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// ended is an ingest that says when it is closed.
type ended struct{ closed chan struct{} }

func (e *ended) Write(p []byte) (int, error)                         { return len(p), nil }
func (e *ended) Size() int64                                         { return 0 }
func (e *ended) Restart() error                                      { return nil }
func (e *ended) Commit(context.Context, string, digest.Digest) error { return nil }
func (e *ended) Close() error                                        { close(e.closed); return nil }

func started(t *testing.T, u *uploads) (*upload, *ended) {
	t.Helper()
	s, err := u.begin("app")
	require.NoError(t, err)
	in := &ended{make(chan struct{})}
	s.in = in
	return s, in
}

// TestIdle: an upload that is left alone is dropped, and one that a request
// is at is not, however long that takes.
func TestIdle(t *testing.T) {
	var u uploads
	u.init()
	u.idle = time.Millisecond
	s, in := started(t, &u)
	u.expire(s) // as a timer that was late
	require.Contains(t, u.all, s.id)
	u.give(s)
	<-in.closed
	_, err := u.take(t.Context(), s.id, "app")
	require.Error(t, err)
	require.Empty(t, u.all)
}

// TestTooMany: the upload that was idle for the longest time has to go; if a
// request is at each, there is none more.
func TestTooMany(t *testing.T) {
	var u uploads
	u.init()
	u.limit = 2
	first, in := started(t, &u)
	second, _ := started(t, &u)
	_, err := u.begin("app")
	require.ErrorIs(t, err, errdefs.ErrResourceExhausted)
	u.give(first)
	u.give(second)
	third, err := u.begin("app")
	require.NoError(t, err)
	<-in.closed
	require.Len(t, u.all, 2)
	_, err = u.take(t.Context(), first.id, "app")
	require.Error(t, err)
	_, err = u.take(t.Context(), second.id, "other")
	require.Error(t, err, "an upload is its repository's")
	u.give(third)
	require.NoError(t, u.close())
	_, err = u.begin("app")
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
}

// TestTurns: requests that go on with one upload do so one after another, and one
// that waits can be given up.
func TestTurns(t *testing.T) {
	var u uploads
	u.init()
	s, _ := started(t, &u)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	_, err := u.take(ctx, s.id, "app")
	require.ErrorIs(t, err, context.Canceled)
	u.give(s)
	at := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			s, err := u.take(t.Context(), s.id, "app")
			if err != nil {
				t.Error(err)
				return
			}
			at++ // the race detector watches
			u.give(s)
		})
	}
	wg.Wait()
	require.Equal(t, 50, at)
	s, err = u.take(t.Context(), s.id, "app")
	require.NoError(t, err)
	require.NoError(t, u.end(s))
	u.give(s)
	_, err = u.take(t.Context(), s.id, "app")
	require.Error(t, err)
}
