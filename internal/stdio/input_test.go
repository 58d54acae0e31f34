package stdio

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
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
