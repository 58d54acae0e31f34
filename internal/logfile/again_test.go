package logfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goOn is a further writer of a log.
func goOn(t testing.TB, path string, limit int64) *Writer {
	t.Helper()
	w, err := Create(path, limit)
	require.NoError(t, err)
	t.Cleanup(func() { w.f.Close() })
	return w
}

// A log goes on with the next writer, and is read as one. A follower is at its
// end when a writer has ended, and reads on when there is another.
func TestAgain(t *testing.T) {
	w, path := create(t, 0)
	follower := open(t, path, Options{Stdout: true, Follow: true})
	through := open(t, path, Options{Stdout: true, Follow: true, Through: true})
	seen := make(chan string, 1)
	go func() {
		b := make([]byte, 6)
		_, _ = io.ReadFull(through, b)
		seen <- string(b)
	}()
	for i := range 3 {
		if i > 0 {
			w = goOn(t, path, 0)
		}
		say(t, w, Stdout, fmt.Sprint(i, "\n"))
		require.NoError(t, w.End())
		b, err := io.ReadAll(follower)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i, "\n"), string(b))
	}
	require.Equal(t, "0\n1\n2\n", <-seen)
	for tail, want := range map[int]string{0: "0\n1\n2\n", 2: "1\n2\n", -1: ""} {
		for _, follow := range []bool{false, true} {
			require.Equal(t, want, read(t, path, Options{Stdout: true, Tail: tail, Follow: follow}))
		}
	}
	require.NoError(t, Complete(t.Context(), path))
}

// What a killed writer has left of a frame, or of a change of files, goes, and
// the log goes on behind it.
func TestAgainAfterKill(t *testing.T) {
	path := writeLog(t, true, "one", "two")
	whole, err := os.ReadFile(file(path, 1))
	require.NoError(t, err)
	for n := range len(whole) + 1 {
		require.NoError(t, os.WriteFile(file(path, 1), whole[:n], 0o600))
		want := "onetwo"[:3*min(2, n/(headerSize+3))] + "more"
		w := goOn(t, path, 0)
		say(t, w, Stdout, "more")
		require.NoError(t, w.End())
		require.Equal(t, want, read(t, path, both), n)
		require.Equal(t, want, read(t, path, Options{Stdout: true, Follow: true}), n)
	}
	require.NoError(t, os.WriteFile(file(path, 2), nil, 0o600))
	w := goOn(t, path, 0)
	say(t, w, Stdout, "!")
	require.NoError(t, w.End())
	require.Equal(t, "onetwomore!", read(t, path, both))
}

// Many writers keep to one bound, and no byte of the last is missing.
func TestAgainBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	line := strings.Repeat("x", 1000) + "\n"
	for i := range 40 {
		w := goOn(t, path, MinLimit)
		for range 100 {
			say(t, w, Stdout, line)
		}
		say(t, w, Stdout, fmt.Sprint("end of ", i, "\n"))
		require.NoError(t, w.End())
		require.LessOrEqual(t, onDisk(t, path), int64(MinLimit))
		text := read(t, path, both)
		require.True(t, strings.HasSuffix(text, line+fmt.Sprint("end of ", i, "\n")))
		require.GreaterOrEqual(t, len(text), min(i+1, 7)*100*len(line))
	}
}

// There is one writer at a time.
func TestAgainWaits(t *testing.T) {
	w, path := create(t, 0)
	say(t, w, Stdout, "one")
	next := make(chan error)
	go func() {
		w, err := Create(path, 0)
		if err == nil {
			err = w.End()
		}
		next <- err
	}()
	say(t, w, Stdout, "two")
	require.NoError(t, w.End())
	require.NoError(t, <-next)
	require.Equal(t, "onetwo", read(t, path, both))
}
