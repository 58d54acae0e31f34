package container

import (
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ctorhq/ctor/internal/stdio"
)

// streams are a command's pipes. They have no names: the runtime opens the
// process's ends through this program's descriptors.
type streams struct {
	theirs []*os.File  // until the process has them
	ours   []io.Closer // until Wait is done
	input  *input      // nil: there is none
	copies []func(kind) error
	copied chan error // gets the first error of the copies, once all have ended; nil: there are none

	// An *os.File that is the input is not waited for: its copy is stopped.
	source  *stdio.Source
	sourced sync.WaitGroup
}

// kind is how the other ends of the pipes behave.
type kind struct {
	relay bool
	tty   bool
	eof   func() // tells the runtime that the input has ended; nil: the pipe does
	ended <-chan struct{}
}

// open makes the pipes that are not there yet, and gives their paths.
func (s *streams) open(c *Cmd) (in, out, eout string, err error) {
	if in, err = s.reader(c.Stdin, c.TTY); err != nil {
		return "", "", "", err
	}
	stdout, stderr := c.Stdout, c.Stderr
	if c.place.engine().Backend.Relays(false) {
		stdout, stderr = orDiscard(stdout), orDiscard(stderr)
	}
	if out, err = s.writer(stdout); err != nil {
		return "", "", "", err
	}
	switch {
	case c.TTY:
	case stderr != nil && stdio.Same(stdout, stderr):
		eout = out
	default:
		eout, err = s.writer(stderr)
	}
	return in, out, eout, err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// pipe makes a pipe that the process reads.
func (s *streams) inPipe() (theirs *os.File, err error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.input = &input{file: ours, theirs: theirs}
	s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	return theirs, nil
}

// outPipe makes a pipe that the process writes.
func (s *streams) outPipe() (ours, theirs *os.File, err error) {
	ours, theirs, err = os.Pipe()
	if err == nil {
		s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	}
	return ours, theirs, err
}

// made gives the path of a pipe that StdinPipe and its like have made.
func (s *streams) made(stream any) (path string, ok bool) {
	for _, f := range s.theirs {
		if stream == any(f) {
			return stdio.Path(f), true
		}
	}
	return "", false
}

func (s *streams) reader(r io.Reader, tty bool) (string, error) {
	if r == nil && tty {
		r = strings.NewReader("") // or it would wait for somebody to type
	}
	if r == nil {
		return "", nil
	}
	if path, ok := s.made(r); ok {
		return path, nil
	}
	theirs, err := s.inPipe()
	if err != nil {
		return "", err
	}
	if f, ok := r.(*os.File); ok {
		s.source, err = stdio.NewSource(f)
		return stdio.Path(theirs), err
	}
	s.copies = append(s.copies, func(kind) error { return s.feed(r) })
	return stdio.Path(theirs), nil
}

// feed copies the input.
func (s *streams) feed(r io.Reader) error {
	err := stdio.Feed(s.input, r)
	s.input.Close()
	return err
}

func (s *streams) writer(w io.Writer) (string, error) {
	if w == nil {
		return "", nil
	}
	if path, ok := s.made(w); ok {
		return path, nil
	}
	ours, theirs, err := s.outPipe()
	if err != nil {
		return "", err
	}
	if f, ok := w.(*os.File); ok {
		dup, err := stdio.Dup(f)
		if err != nil {
			return "", err
		}
		s.ours = append(s.ours, dup)
		w = dup
	}
	s.copies = append(s.copies, func(k kind) error {
		_, err := io.Copy(w, ours)
		if err != nil && k.relay {
			_, _ = io.Copy(io.Discard, ours) // the process can't be told of it
		}
		ours.Close() // so that it learns of it by SIGPIPE
		return err
	})
	return stdio.Path(theirs), nil
}

// begin copies: the process has its ends.
func (s *streams) begin(k kind) {
	if s.input != nil {
		if k.relay {
			s.keepReader(k.ended)
		}
		s.input.begin(k)
	}
	s.given()
	if source := s.source; source != nil {
		s.sourced.Go(func() { _ = s.feed(source) })
	}
	if len(s.copies) == 0 {
		return
	}
	s.copied = make(chan error, 1)
	ended := make(chan error)
	for _, copy := range s.copies {
		go func() { ended <- copy(k) }()
	}
	n := len(s.copies)
	s.copies = nil
	go func(copied chan<- error) {
		var first error
		for range n {
			if err := <-ended; first == nil {
				first = err
			}
		}
		copied <- first
	}(s.copied)
}

// keepReader keeps the input's reading end open as long as the process lives. A
// stock shim opens its own in its own time, which may be after Start: until then
// there would be nobody to read, and a write would fail.
func (s *streams) keepReader(ended <-chan struct{}) {
	theirs := s.input.theirs
	s.theirs = slices.DeleteFunc(s.theirs, func(f *os.File) bool { return f == theirs })
	go func() {
		<-ended
		theirs.Close()
	}()
}

// given closes the process's ends.
func (s *streams) given() {
	for _, f := range s.theirs {
		f.Close()
	}
	s.theirs = nil
}

// abandon lets go of everything: no process has come of it.
func (s *streams) abandon() {
	s.given()
	s.close()
	s.copies = nil
}

func (s *streams) close() {
	for _, c := range s.ours {
		c.Close()
	}
	s.ours = nil
	if s.source != nil {
		s.source.Stop()
		s.sourced.Wait()
		s.source.Close()
		s.source = nil
	}
}

// input is the writing end of a process's input.
type input struct {
	file   *os.File
	theirs *os.File // the reading end
	mu     sync.Mutex
	begun  bool
	ended  bool
	kind   kind
	last   byte
}

// begin is called when there is a process.
func (i *input) begin(k kind) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun, i.kind = true, k
	if i.ended {
		_ = i.end()
	}
}

// Write implements io.Writer.
func (i *input) Write(p []byte) (int, error) {
	n, err := i.file.Write(p)
	if n > 0 {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.last = p[n-1]
	}
	return n, err
}

// Close ends the input, once there is a process.
func (i *input) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return &os.PathError{Op: "close", Path: i.file.Name(), Err: os.ErrClosed}
	}
	i.ended = true
	if !i.begun {
		return nil
	}
	return i.end()
}

func (i *input) end() error {
	if i.kind.tty {
		_, _ = i.file.Write(stdio.EndOfInput(i.last))
	}
	err := i.file.Close()
	if i.kind.eof != nil {
		i.kind.eof()
	}
	return err
}
