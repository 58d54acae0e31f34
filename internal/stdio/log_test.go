package stdio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// writeLog makes a log of what is copied into it.
func writeLog(t *testing.T, end bool, chunks ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := Create(path)
	require.NoError(t, err)
	for _, c := range chunks {
		require.NoError(t, log.Copy(Stdout, nil, strings.NewReader(c)))
	}
	if end {
		require.NoError(t, log.End())
	}
	return path
}

func readLog(t *testing.T, path string) string {
	t.Helper()
	r, err := Open(t.Context(), path, false, nil)
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

func TestLog(t *testing.T) {
	big := strings.Repeat("0123456789", 50_000)
	require.Equal(t, "one"+big+"two", readLog(t, writeLog(t, true, "one", big, "two")))
	require.Empty(t, readLog(t, writeLog(t, true)))
	path := writeLog(t, true, strings.Repeat("x", 1000))
	r, err := Open(t.Context(), path, false, nil)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, iotest.TestReader(r, []byte(strings.Repeat("x", 1000))))
	_, err = Open(t.Context(), path+"x", true, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A writer that was killed leaves a log that ends anywhere: what was whole
// before can be read.
func TestCutLog(t *testing.T) {
	path := writeLog(t, true, "one", "two")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range whole {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		got := readLog(t, path)
		require.True(t, strings.HasPrefix("onetwo", got))
		require.Len(t, got, 3*(n/(headerSize+3)))
		ended := make(chan struct{})
		close(ended)
		r, err := Open(t.Context(), path, true, ended)
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, got, string(b))
		require.NoError(t, r.Close())
	}
}

// After a write that failed the log has no more frames: they would follow half
// a one.
func TestFullDisk(t *testing.T) {
	log, err := Create("/dev/full")
	require.NoError(t, err)
	var got bytes.Buffer
	err = log.Copy(Stdout, &got, strings.NewReader("hello"))
	require.ErrorContains(t, err, "no space left")
	require.Equal(t, "hello", got.String(), "the program's writer has it all the same")
	require.ErrorContains(t, log.End(), "no space left")
}

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestCopyToBadWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := Create(path)
	require.NoError(t, err)
	require.ErrorIs(t, log.Copy(Stdout, short{}, strings.NewReader("hello")), io.ErrShortWrite)
	require.NoError(t, log.End())
	require.Equal(t, "hello", readLog(t, path))
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789012345678901234567890"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "log")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		r, err := Open(t.Context(), path, false, nil)
		require.NoError(t, err)
		defer r.Close()
		b, _ := io.ReadAll(r)
		require.LessOrEqual(t, len(b), len(data))
	})
}

// Followers see what two writers write while they read, and the end.
func TestFollow(t *testing.T) {
	for _, byClock := range []bool{false, true} {
		path := writeLog(t, false)
		log, err := Create(path)
		require.NoError(t, err)
		var wg sync.WaitGroup
		texts := make([]string, 4)
		for i := range texts {
			r, err := Open(t.Context(), path, true, nil)
			require.NoError(t, err)
			if byClock {
				r.changed.close()
				r.changed = &watch{ctx: t.Context(), events: make(chan struct{}, 1), closed: make(chan struct{})}
				r.changed.wg.Go(r.changed.tick)
			}
			wg.Go(func() {
				b, err := io.ReadAll(r)
				if err == nil {
					texts[i] = string(b)
				}
				r.changed.close()
			})
		}
		var writers sync.WaitGroup
		for _, s := range []Stream{Stdout, Stderr} {
			writers.Go(func() {
				for range 100 {
					_ = log.Copy(s, nil, strings.NewReader("line\n"))
				}
			})
		}
		writers.Wait()
		require.NoError(t, log.End())
		wg.Wait()
		for _, text := range texts {
			require.Equal(t, strings.Repeat("line\n", 200), text)
		}
	}
}

func TestFollowEnds(t *testing.T) {
	path := writeLog(t, false, "hello")
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := Open(ctx, path, true, nil)
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
	r, err = Open(t.Context(), path, true, ended)
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
