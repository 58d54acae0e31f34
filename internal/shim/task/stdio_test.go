package task

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(path, 0o600))
	return path
}

// reading opens a fifo as whoever reads it does.
func reading(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// A process gets blocking files: few programs know what to do with others.
func TestStreamsBlock(t *testing.T) {
	in, out := fifo(t), fifo(t)
	reading(t, out)
	s, child, err := paths{in: in, out: out, err: "fifo://" + out}.open(t.Context(), "ns", "id")
	require.NoError(t, err)
	defer s.close()
	defer child.close()
	for _, f := range []*os.File{child.In, child.Out, child.Err} {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_NONBLOCK)
		flags, err = unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
	}
}

func TestStreamsInput(t *testing.T) {
	in := fifo(t)
	s, child, err := paths{in: in}.open(t.Context(), "ns", "id")
	require.NoError(t, err)
	defer s.close()
	defer child.close()
	require.NoError(t, os.WriteFile(in, []byte("one"), 0)) // opens and closes it
	require.NoError(t, os.WriteFile(in, []byte("two"), 0))
	s.closeIn()
	b, err := io.ReadAll(child.In)
	require.NoError(t, err)
	require.Equal(t, "onetwo", string(b))
}

// To a pipe without a name nobody can come back: nothing of it is kept, and
// each end sees the end of the other.
func TestStreamsNameless(t *testing.T) {
	path := func(f *os.File) string { return filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd()))) }
	inR, inW, err := os.Pipe()
	require.NoError(t, err)
	outR, outW, err := os.Pipe()
	require.NoError(t, err)
	s, child, err := paths{in: path(inR), out: path(outW), err: path(outW)}.open(t.Context(), "ns", "id")
	require.NoError(t, err)
	defer s.close()
	defer child.close()
	for _, f := range []*os.File{inR, outW, inW} {
		require.NoError(t, f.Close())
	}
	b, err := io.ReadAll(child.In)
	require.NoError(t, err)
	require.Empty(t, b)
	_, err = child.Err.WriteString("last")
	require.NoError(t, err)
	child.close()
	b, err = io.ReadAll(outR)
	require.NoError(t, err)
	require.Equal(t, "last", string(b))
	require.NoError(t, outR.Close())
}

func TestStreamsRefuse(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	fds := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(all)
	}
	good := fifo(t)
	reading(t, good)
	before := fds()
	for _, p := range []paths{
		{in: plain}, {out: plain}, {out: good, err: plain}, {in: good, out: plain, terminal: true},
		{out: "npipe:///x"}, {out: "binary:///nosuch"}, {out: ":"},
	} {
		_, child, err := p.open(t.Context(), "ns", "id")
		require.Error(t, err, "%+v", p)
		require.Equal(t, Stdio{}, child)
		if p.out != "binary:///nosuch" {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%+v", p)
		}
	}
	require.LessOrEqual(t, fds(), before)
}

// A terminal whose slave somebody holds, and whose output nobody reads, is let
// go of all the same.
func TestTerminalSettles(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	raw, err := master.SyscallConn()
	require.NoError(t, err)
	var n int
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.NoError(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		require.NoError(t, err)
	}))
	slave, err := os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer slave.Close()

	in, out := fifo(t), fifo(t)
	r := reading(t, out)
	s, _, err := paths{in: in, out: out, terminal: true}.open(t.Context(), "ns", "id")
	require.NoError(t, err)
	s.attach(master)
	_, err = slave.WriteString("hello")
	require.NoError(t, err)
	b := make([]byte, 5)
	_, err = io.ReadFull(r, b)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.NoError(t, s.resize(80, 25))

	s.finish() // does not wait
	began := time.Now()
	s.settle()
	require.Less(t, time.Since(began), 10*terminalPatience)
	rest, err := io.ReadAll(r)
	require.NoError(t, err, "the reader sees the end")
	require.Empty(t, rest)
	require.ErrorIs(t, s.resize(80, 25), errdefs.ErrFailedPrecondition)
}

// What a short process writes is for its reader, also if that comes later than
// the process ends.
func TestStreamsAwaitReader(t *testing.T) {
	out := fifo(t)
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		s, child, err := paths{out: out}.open(t.Context(), "ns", "id")
		if !assert.NoError(t, err) {
			return
		}
		_, err = child.Out.WriteString("all")
		assert.NoError(t, err)
		child.close()
		s.close()
	}()
	require.Never(t, func() bool {
		select {
		case <-opened:
			return true
		default:
			return false
		}
	}, 50*time.Millisecond, 5*time.Millisecond)
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "all", string(b))
	<-opened
}

// A client that has given up does not come.
func TestStreamsNoReader(t *testing.T) {
	out := fifo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := paths{out: out}.open(ctx, "ns", "id")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	time.AfterFunc(20*time.Millisecond, func() { os.Remove(out) })
	_, _, err = paths{out: out}.open(t.Context(), "ns", "id")
	require.ErrorIs(t, err, os.ErrNotExist)
}
