package stdio

import (
	"io"
	"os"
	"sync"
)

// Input is one reader of the program's that processes read from one after the
// other, each where the one before it stopped. What a Read has given after the
// end of a process is the next one's, and there is never more than one Read. An
// *os.File need not be read ahead: its Read ends with the process.
type Input struct {
	r    io.Reader
	turn chan struct{} // has one, while no process reads
	got  chan chunk
	buf  []byte

	// Guarded by turn.
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
	i := &Input{r: r, turn: make(chan struct{}, 1), got: make(chan chunk, 1), buf: make([]byte, 32<<10)}
	i.turn <- struct{}{}
	return i
}

// Until gives what there is to read until a process has ended. nil stays nil.
func (i *Input) Until(ended <-chan struct{}) io.Reader {
	if i == nil {
		return nil
	}
	if f, ok := i.r.(*os.File); ok {
		return &filePortion{f: f, ended: ended}
	}
	return &portion{i, ended}
}

// portion is one process's.
type portion struct {
	of    *Input
	ended <-chan struct{}
}

// Read implements io.Reader. After the end of the process it gives io.EOF.
func (s *portion) Read(p []byte) (int, error) {
	i := s.of
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
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

// filePortion is one process's of a file, such as os.Stdin.
type filePortion struct {
	f      *os.File
	ended  <-chan struct{}
	mu     sync.Mutex
	source *Source // nil before the first Read
}

// Read implements io.Reader. It takes nothing that comes after the end of the
// process: that is for the program, or for the next process.
func (s *filePortion) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return 0, io.EOF
	default:
	}
	if s.source == nil {
		source, err := NewSource(s.f)
		if err != nil {
			return 0, err
		}
		s.source = source
		go func() {
			<-s.ended
			source.Stop()
			s.mu.Lock()
			defer s.mu.Unlock()
			source.Close()
		}()
	}
	n, err := s.source.Read(p)
	select {
	case <-s.ended:
		if n == 0 {
			err = io.EOF
		}
	default:
	}
	return n, err
}
