package stdio

import (
	"io"
	"os"
	"sync"
)

// Input is one reader of the program's that processes read from one after the
// other, each where the one before it stopped. What a Read gives after the end of
// a process is the next one's, and there is never more than one Read. An *os.File
// is a Source for each of them, which reads nothing ahead.
type Input struct {
	r    io.Reader
	free chan struct{} // has one, while no process reads
	got  chan chunk
	buf  []byte

	// Guarded by free.
	reading bool
	rest    []byte
	err     error // comes after rest
}

type chunk struct {
	n   int
	err error
}

// NewInput makes it of a reader. nil is no input, and nil.
func NewInput(r io.Reader) *Input {
	if r == nil {
		return nil
	}
	i := &Input{r: r, free: make(chan struct{}, 1), got: make(chan chunk, 1), buf: make([]byte, 32<<10)}
	i.free <- struct{}{}
	return i
}

// Next gives what the next process reads, until it is stopped. nil stays nil.
func (i *Input) Next() io.Reader {
	if i == nil {
		return nil
	}
	if f, ok := i.r.(*os.File); ok {
		return f
	}
	return &turn{of: i, ended: make(chan struct{})}
}

// A portion is an input whose reading ends when it is stopped, also where it waits.
type portion interface {
	io.Reader
	Stop()
	Close() // nothing is read any more
}

// turn is one process's portion of an Input.
type turn struct {
	of    *Input
	once  sync.Once
	ended chan struct{}
}

// Stop implements portion.
func (s *turn) Stop() { s.once.Do(func() { close(s.ended) }) }

// Close implements portion.
func (s *turn) Close() { s.Stop() }

// Read implements io.Reader. Once stopped it gives io.EOF.
func (s *turn) Read(p []byte) (int, error) {
	i := s.of
	select {
	case <-i.free:
		defer func() { i.free <- struct{}{} }()
	case <-s.ended:
		return 0, io.EOF
	}
	if len(i.rest) == 0 && i.err == nil {
		if !i.reading {
			i.reading = true
			go func() {
				n, err := i.r.Read(i.buf)
				i.got <- chunk{n, err}
			}()
		}
		select {
		case c := <-i.got:
			i.reading, i.rest, i.err = false, i.buf[:c.n], c.err
		case <-s.ended:
			return 0, io.EOF
		}
	}
	select {
	case <-s.ended:
		return 0, io.EOF
	default:
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	if len(i.rest) > 0 {
		return n, nil
	}
	err := i.err
	i.err = nil // the next process asks again, as another exec.Cmd would
	return n, err
}
