package stdio

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// One process reads to the end as if there was nothing in between.
func TestInput(t *testing.T) {
	text := strings.Repeat("0123456789", 10_000)
	require.NoError(t, iotest.TestReader(NewInput(strings.NewReader(text)).Next(), []byte(text)))
	broken := errors.New("broken")
	_, err := io.ReadAll(NewInput(iotest.ErrReader(broken)).Next())
	require.ErrorIs(t, err, broken)
	require.Nil(t, NewInput(nil).Next())
}

// The next process reads on where the last one stopped, also what a Read has
// given in between. A Read of the last one ends with it.
func TestInputGoesOn(t *testing.T) {
	r, w := io.Pipe()
	in := NewInput(r)
	first := in.Next().(portion)
	go func() { _, _ = w.Write([]byte("one two")) }()
	b := make([]byte, 4)
	_, err := io.ReadFull(first, b)
	require.NoError(t, err)
	require.Equal(t, "one ", string(b))
	_, err = io.ReadFull(first, b[:3])
	require.NoError(t, err)
	waits := make(chan error)
	go func() {
		_, err := first.Read(make([]byte, 1))
		waits <- err
	}()
	first.Stop()
	require.ErrorIs(t, <-waits, io.EOF)
	_, err = first.Read(b)
	require.ErrorIs(t, err, io.EOF)

	go func() {
		_, _ = w.Write([]byte("three"))
		w.Close()
	}()
	rest, err := io.ReadAll(in.Next())
	require.NoError(t, err)
	require.Equal(t, "three", string(rest))
	rest, err = io.ReadAll(in.Next())
	require.NoError(t, err)
	require.Empty(t, rest)
}

// A file is not read after it is stopped: what comes then is the program's.
func TestSource(t *testing.T) {
	for name, open := range map[string]func() (r, w *os.File, err error){"polled": os.Pipe, "not polled": blocking} {
		t.Run(name, func(t *testing.T) {
			r, w, err := open()
			require.NoError(t, err)
			defer r.Close()
			defer w.Close()
			first, err := NewSource(NewInput(r).Next().(*os.File))
			require.NoError(t, err)
			_, err = w.WriteString("one")
			require.NoError(t, err)
			b := [8]byte{}
			n, err := first.Read(b[:])
			require.NoError(t, err)
			require.Equal(t, "one", string(b[:n]))
			waits := make(chan error)
			go func() {
				_, err := first.Read(b[:])
				waits <- err
			}()
			first.Stop()
			require.ErrorIs(t, <-waits, os.ErrClosed)
			_, err = w.WriteString("the program's")
			require.NoError(t, err)
			text := [13]byte{}
			_, err = io.ReadFull(r, text[:])
			require.NoError(t, err)
			require.Equal(t, "the program's", string(text[:]))
			_, err = first.Read(b[:])
			require.ErrorIs(t, err, os.ErrClosed)
			first.Close()

			next, err := NewSource(r)
			require.NoError(t, err)
			defer next.Close()
			_, err = w.WriteString("two")
			require.NoError(t, err)
			n, err = next.Read(b[:])
			require.NoError(t, err)
			require.Equal(t, "two", string(b[:n]))
		})
	}
}

// blocking makes a pipe that Go's poller does not have, as os.Stdin is.
func blocking() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w"), nil
}
