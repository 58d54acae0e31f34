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
	require.NoError(t, iotest.TestReader(NewInput(strings.NewReader(text)).Until(nil), []byte(text)))
	broken := errors.New("broken")
	_, err := io.ReadAll(NewInput(iotest.ErrReader(broken)).Until(nil))
	require.ErrorIs(t, err, broken)
	require.Nil(t, NewInput(nil).Until(nil))
}

// The next process reads on where the last one stopped, also what a Read has
// given in between. A Read of the last one ends with it.
func TestInputGoesOn(t *testing.T) {
	r, w := io.Pipe()
	in := NewInput(r)
	ended := make(chan struct{})
	first := in.Until(ended)
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
	close(ended)
	require.ErrorIs(t, <-waits, io.EOF)
	_, err = first.Read(b)
	require.ErrorIs(t, err, io.EOF)

	go func() {
		_, _ = w.Write([]byte("three"))
		w.Close()
	}()
	rest, err := io.ReadAll(in.Until(nil))
	require.NoError(t, err)
	require.Equal(t, "three", string(rest))
	rest, err = io.ReadAll(in.Until(nil))
	require.NoError(t, err)
	require.Empty(t, rest)
}

// A file is not read after the process's end: what comes then is the program's.
func TestInputOfFile(t *testing.T) {
	for name, open := range map[string]func() (r, w *os.File, err error){"polled": os.Pipe, "not polled": blocking} {
		t.Run(name, func(t *testing.T) {
			r, w, err := open()
			require.NoError(t, err)
			defer r.Close()
			defer w.Close()
			in := NewInput(r)
			ended := make(chan struct{})
			first := in.Until(ended)
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
			close(ended)
			require.Equal(t, io.EOF, <-waits)
			_, err = w.WriteString("the program's")
			require.NoError(t, err)
			text := [13]byte{}
			_, err = io.ReadFull(r, text[:])
			require.NoError(t, err)
			require.Equal(t, "the program's", string(text[:]))
			_, err = first.Read(b[:])
			require.Equal(t, io.EOF, err)

			next := in.Until(nil)
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
