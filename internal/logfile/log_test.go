package logfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var both = Options{Stdout: true, Stderr: true}

// create starts a log.
func create(t testing.TB, limit int64) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	w, err := Create(path, limit)
	require.NoError(t, err)
	t.Cleanup(func() { w.f.Close() })
	return w, path
}

func say(t testing.TB, w *Writer, s Stream, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.NoError(t, w.Copy(s, nil, strings.NewReader(text)))
	}
}

// writeLog makes a log of what is copied into it.
func writeLog(t testing.TB, end bool, texts ...string) string {
	t.Helper()
	w, path := create(t, 0)
	say(t, w, Stdout, texts...)
	if end {
		require.NoError(t, w.End())
	}
	return path
}

func open(t testing.TB, path string, o Options) *Reader {
	t.Helper()
	r, err := Open(t.Context(), path, o)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t testing.TB, path string, o Options) string {
	t.Helper()
	r := open(t, path, o)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// onDisk is what the files of a log have.
func onDisk(t testing.TB, path string) (bytes int64) {
	t.Helper()
	x, err := measure(path)
	require.NoError(t, err)
	for _, p := range x {
		bytes += p.size
	}
	return bytes
}

func TestLog(t *testing.T) {
	big := strings.Repeat("0123456789", 500_000) // some blocks
	require.Equal(t, "one"+big+"two", read(t, writeLog(t, true, "one", big, "two"), both))
	require.Empty(t, read(t, writeLog(t, true), both))
	path := writeLog(t, true, strings.Repeat("x", 1000))
	require.NoError(t, iotest.TestReader(open(t, path, both), []byte(strings.Repeat("x", 1000))))
	_, err := Open(t.Context(), path+"x", both)
	require.ErrorIs(t, err, fs.ErrNotExist)
	path += "x"
	require.NoError(t, Announce(path))
	require.Empty(t, read(t, path, both))
	w, err := Create(path, 0)
	require.NoError(t, err)
	require.NoError(t, w.End())
}

func TestStreams(t *testing.T) {
	w, path := create(t, 0)
	say(t, w, Stdout, "out\n")
	say(t, w, Stderr, "err\n")
	say(t, w, Stdout, "more\n")
	require.Equal(t, "out\nerr\nmore\n", read(t, path, both))
	require.Equal(t, "out\nmore\n", read(t, path, Options{Stdout: true}))
	require.Equal(t, "err\n", read(t, path, Options{Stderr: true}))
	require.Equal(t, "err\n", read(t, path, Options{Stderr: true, Tail: 5}))
	require.Equal(t, "more\n", read(t, path, Options{Stdout: true, Tail: 1}))
}

// A writer that was killed leaves a log that ends anywhere: what was whole
// before can be read.
func TestCutLog(t *testing.T) {
	path := writeLog(t, true, "one", "two")
	whole, err := os.ReadFile(file(path, 1))
	require.NoError(t, err)
	for n := range whole {
		require.NoError(t, os.WriteFile(file(path, 1), whole[:n], 0o600))
		want := "onetwo"[:3*min(2, n/(headerSize+3))]
		ended := make(chan struct{})
		close(ended)
		for _, o := range []Options{both, {Stdout: true, Follow: true, Ended: func() <-chan struct{} { return ended }}, {Stdout: true, Tail: 1}} {
			require.Equal(t, want, read(t, path, o))
		}
	}
}

// A writer that was killed after it had made the next file, and before it had
// said so.
func TestCutTurn(t *testing.T) {
	path := writeLog(t, false, "one")
	require.NoError(t, os.Rename(file(writeLog(t, true, "two"), 1), file(path, 2)))
	ended := make(chan struct{})
	close(ended)
	for _, o := range []Options{both, {Stdout: true, Follow: true, Ended: func() <-chan struct{} { return ended }}, {Stdout: true, Tail: 1}} {
		require.Equal(t, "onetwo", read(t, path, o))
	}
}

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestCopyToBadWriter(t *testing.T) {
	w, path := create(t, 0)
	require.ErrorIs(t, w.Copy(Stdout, short{}, strings.NewReader("hello")), io.ErrShortWrite)
	require.NoError(t, w.End())
	require.Equal(t, "hello", read(t, path, both))
}

// The disk fills up and is emptied again: the log goes on and says that
// something is missing.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"), "as root")
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	for name, limit := range map[string]int64{"no limit": 0, "limit": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "log")
			w, err := Create(path, limit)
			require.NoError(t, err)
			say(t, w, Stdout, "one\n")
			ballast := filepath.Join(dir, "ballast")
			require.ErrorIs(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600), unix.ENOSPC)
			var got bytes.Buffer
			text := strings.Repeat("x", 200<<10)
			require.ErrorIs(t, w.Copy(Stdout, &got, strings.NewReader(text)), unix.ENOSPC)
			require.Equal(t, text, got.String(), "the program's writer has it all the same")
			require.NoError(t, os.Remove(ballast))
			say(t, w, Stdout, "two\n")
			require.NoError(t, w.End())

			r := open(t, path, both)
			before, err := io.ReadAll(r)
			require.ErrorIs(t, err, ErrGap)
			require.True(t, strings.HasPrefix("one\n"+text, string(before)))
			after, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, "two\n", string(after))
			require.NoError(t, r.Close())
			require.NoError(t, os.Remove(file(path, 1)))
		})
	}
}

// However much is written, and in whatever pieces, the files have no more than
// the limit, and what is kept is the last of it.
func TestBound(t *testing.T) {
	for name, most := range map[string]int{"lines": 200, "chunks": chunkSize, "full chunks": 0} {
		t.Run(name, func(t *testing.T) {
			const limit = MinLimit + 12345
			w, path := create(t, limit)
			source := rand.New(rand.NewPCG(1, uint64(most)))
			var all bytes.Buffer
			b := make([]byte, chunkSize)
			for all.Len() < 2*limit {
				n := chunkSize
				if most > 0 {
					n = 1 + source.IntN(most)
				}
				for i := range b[:n] {
					b[i] = byte(source.Uint32())
				}
				all.Write(b[:n])
				require.NoError(t, w.Copy(Stdout, nil, bytes.NewReader(b[:n])))
				if all.Len()%31 == 0 || most == 0 {
					require.LessOrEqual(t, onDisk(t, path), int64(limit))
				}
			}
			require.NoError(t, w.End())
			used := onDisk(t, path)
			require.LessOrEqual(t, used, int64(limit))
			require.Greater(t, used, int64(limit*3/4-3*2*(chunkSize+headerSize)))
			got := read(t, path, both)
			require.True(t, strings.HasSuffix(all.String(), got))
			names, err := list(path)
			require.NoError(t, err)
			require.LessOrEqual(t, len(names), files)
		})
	}
}

// What is written while nothing is read is lost to a reader, who is told once,
// and then goes on.
func TestGap(t *testing.T) {
	for _, follow := range []bool{true, false} {
		w, path := create(t, MinLimit)
		line := strings.Repeat("0123456789abcde\n", 1024)
		say(t, w, Stdout, "first\n", line)
		o := both
		o.Follow = follow
		r := open(t, path, o)
		_, err := io.ReadFull(r, make([]byte, 6))
		require.NoError(t, err)
		for range 3 * MinLimit / len(line) {
			say(t, w, Stdout, line)
		}
		require.NoError(t, w.End())
		before, err := io.ReadAll(r)
		if !follow {
			require.NoError(t, err)
			require.Equal(t, line, string(before), "what there was when it was opened")
			continue
		}
		require.ErrorIs(t, err, ErrGap)
		require.NotEmpty(t, before, "it had a file open, which it reads to its end")
		require.Empty(t, strings.ReplaceAll(string(before), line, ""))
		after, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Empty(t, strings.ReplaceAll(string(after), line, ""))
		require.Equal(t, read(t, path, both), string(after))
	}
}

// A reader of what there was at a moment is told as well when it is too slow.
func TestGapNow(t *testing.T) {
	w, path := create(t, MinLimit)
	text := strings.Repeat("x", MinLimit/2)
	say(t, w, Stdout, text)
	r := open(t, path, both)
	say(t, w, Stdout, text, text, text, text)
	before, err := io.ReadAll(r)
	require.ErrorIs(t, err, ErrGap)
	require.Less(t, len(before), len(text))
	after, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, after)
}

// The log is deleted while it is read, as when its container is closed.
func TestDeleted(t *testing.T) {
	w, path := create(t, MinLimit)
	text := strings.Repeat("x", MinLimit/2)
	say(t, w, Stdout, text)
	r := open(t, path, Options{Stdout: true, Follow: true})
	require.NoError(t, w.End())
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	got, err := io.ReadAll(r)
	require.ErrorIs(t, err, ErrDeleted)
	require.Less(t, len(got), len(text))

	w, path = create(t, MinLimit)
	say(t, w, Stdout, "hello")
	r = open(t, path, Options{Stdout: true, Follow: true})
	require.NoError(t, w.End())
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	got, err = io.ReadAll(r)
	require.NoError(t, err, "it has all of it open")
	require.Equal(t, "hello", string(got))
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789012345678901234567890"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "log")
		require.NoError(t, os.WriteFile(file(path, 1), data, 0o600))
		for _, tail := range []int{0, 1, 1000, -1} {
			r, err := Open(context.Background(), path, Options{Stdout: true, Stderr: true, Tail: tail})
			if err != nil {
				continue
			}
			b, err := io.ReadAll(r)
			for errors.Is(err, ErrGap) {
				var more []byte
				more, err = io.ReadAll(r)
				b = append(b, more...)
			}
			require.LessOrEqual(t, len(b), len(data))
			require.NoError(t, r.Close())
		}
	})
}
