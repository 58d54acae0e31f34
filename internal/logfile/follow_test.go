package logfile

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// byClock makes a follower one that has got no inotify.
func byClock(r *Reader) {
	r.watch.close()
	r.watch = &watch{ctx: r.ctx, events: make(chan struct{}, 1), closed: make(chan struct{})}
	r.watch.turn(r.f)
}

// Followers see what two writers write while they read, and the end.
func TestFollow(t *testing.T) {
	for _, clock := range []bool{false, true} {
		w, path := create(t, 0)
		var wg sync.WaitGroup
		texts := make([]string, 4)
		for i := range texts {
			r := open(t, path, Options{Stdout: true, Stderr: true, Follow: true})
			if clock {
				byClock(r)
			}
			wg.Go(func() {
				b, err := io.ReadAll(r)
				if err == nil {
					texts[i] = string(b)
				}
			})
		}
		var writers sync.WaitGroup
		for _, s := range []Stream{Stdout, Stderr} {
			writers.Go(func() {
				for range 100 {
					_ = w.Copy(s, nil, strings.NewReader("line\n"))
				}
			})
		}
		writers.Wait()
		require.NoError(t, w.End())
		wg.Wait()
		for _, text := range texts {
			require.Equal(t, strings.Repeat("line\n", 200), text)
		}
	}
}

// A follower that keeps up gets every byte, however often files change.
func TestFollowTurns(t *testing.T) {
	w, path := create(t, MinLimit)
	r := open(t, path, Options{Stdout: true, Follow: true})
	text := strings.Repeat("0123456789abcde\n", 4000)
	got := make([]byte, len(text))
	for range 10 * MinLimit / len(text) {
		say(t, w, Stdout, text)
		_, err := io.ReadFull(r, got)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	require.Greater(t, w.n, 30)
	require.NoError(t, w.End())
	_, err := r.Read(got)
	require.ErrorIs(t, err, io.EOF)
}

// One that waits sees the next file at once, by the clock too.
func TestFollowTurn(t *testing.T) {
	for _, clock := range []bool{false, true} {
		w, path := create(t, MinLimit)
		r := open(t, path, Options{Stdout: true, Follow: true, Tail: -1})
		if clock {
			byClock(r)
		}
		var g sync.WaitGroup
		var got []byte
		g.Go(func() { got, _ = io.ReadAll(r) })
		w.mu.Lock()
		err := w.turn()
		w.mu.Unlock()
		require.NoError(t, err)
		say(t, w, Stdout, "hello")
		require.NoError(t, w.End())
		g.Wait()
		require.Equal(t, "hello", string(got))
	}
}

func TestFollowTail(t *testing.T) {
	for tail, want := range map[int]string{0: "one\ntwo\nthree\n", 1: "two\nthree\n", -1: "three\n"} {
		w, path := create(t, 0)
		say(t, w, Stdout, "one\ntwo\n")
		r := open(t, path, Options{Stdout: true, Follow: true, Tail: tail})
		say(t, w, Stdout, "three\n")
		require.NoError(t, w.End())
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
}

func TestFollowEnds(t *testing.T) {
	path := writeLog(t, false, "hello")
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(t.Context())
	follow := Options{Stdout: true, Follow: true}
	r, err := Open(ctx, path, follow)
	require.NoError(t, err)
	b := make([]byte, 5)
	_, err = io.ReadFull(r, b)
	require.NoError(t, err)
	cancel(broken)
	_, err = r.Read(b)
	require.ErrorIs(t, err, broken)
	require.NoError(t, r.Close())
	_, err = r.Read(b)
	require.ErrorIs(t, err, os.ErrClosed)

	// The writer is gone and has not said that it was the end.
	ended := make(chan struct{})
	follow.Ended = func() <-chan struct{} { return ended }
	r, err = Open(t.Context(), path, follow)
	require.NoError(t, err)
	defer r.Close()
	time.AfterFunc(10*time.Millisecond, func() { close(ended) })
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello", string(all))

	settle, cancelSettle := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelSettle()
	require.ErrorIs(t, Complete(settle, path), context.DeadlineExceeded)
}

// Readers are closed at any moment, also while they change files.
func TestCloseAnytime(t *testing.T) {
	w, path := create(t, MinLimit)
	stop := make(chan struct{})
	var g sync.WaitGroup
	g.Go(func() {
		text := strings.Repeat("x", 50_000)
		for {
			select {
			case <-stop:
				return
			default:
				_ = w.Copy(Stdout, nil, strings.NewReader(text))
			}
		}
	})
	for range 50 {
		r := open(t, path, Options{Stdout: true, Follow: true, Tail: 1})
		done := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, r)
			for errors.Is(err, ErrGap) {
				_, err = io.Copy(io.Discard, r)
			}
			done <- err
		}()
		require.NoError(t, r.Close())
		require.ErrorIs(t, <-done, os.ErrClosed)
	}
	close(stop)
	g.Wait()
}
