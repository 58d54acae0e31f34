package stdio

import (
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// Command is the streams of a command, as os/exec has them: pipes, which have no
// names. The runtime opens the process's ends through this program's descriptors.
// The zero value is ready.
type Command struct {
	theirs []*os.File  // until the process has them
	ours   []io.Closer // until Wait is done
	input  *input      // nil: there is none
	copies []func(Kind) error
	// Copied gets the first error of the copies, once all have ended; nil: there
	// are none.
	Copied chan error

	// An *os.File that is the input is not waited for: its copy is stopped.
	source  *Source
	sourced sync.WaitGroup
}

// Kind is how the other ends of the pipes behave.
type Kind struct {
	Relay bool // the runtime copies between them and the process
	TTY   bool
	EOF   func() // tells the runtime that the input has ended; nil: the pipe does
	Ended <-chan struct{}
}

// Open makes the pipes that are not there yet, and gives their paths. A nil
// reader or writer has none, "".
func (s *Command) Open(stdin io.Reader, stdout, stderr io.Writer, tty bool) (in, out, eout string, err error) {
	if in, err = s.reader(stdin, tty); err != nil {
		return "", "", "", err
	}
	if out, err = s.writer(stdout); err != nil {
		return "", "", "", err
	}
	switch {
	case tty:
	case stderr != nil && Same(stdout, stderr):
		eout = out
	default:
		eout, err = s.writer(stderr)
	}
	return in, out, eout, err
}

// In makes a pipe that the process reads, and gives both ends.
func (s *Command) In() (ours io.WriteCloser, theirs *os.File, err error) {
	theirs, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s.input = &input{file: w, theirs: theirs}
	s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, w)
	return s.input, theirs, nil
}

// Out makes a pipe that the process writes, and gives both ends.
func (s *Command) Out() (ours, theirs *os.File, err error) {
	ours, theirs, err = os.Pipe()
	if err == nil {
		s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	}
	return ours, theirs, err
}

// made gives the path of a pipe that In or Out has made.
func (s *Command) made(stream any) (path string, ok bool) {
	for _, f := range s.theirs {
		if stream == any(f) {
			return Path(f), true
		}
	}
	return "", false
}

func (s *Command) reader(r io.Reader, tty bool) (string, error) {
	if r == nil && tty {
		r = strings.NewReader("") // or it would wait for a person to type
	}
	if r == nil {
		return "", nil
	}
	if path, ok := s.made(r); ok {
		return path, nil
	}
	_, theirs, err := s.In()
	if err != nil {
		return "", err
	}
	if f, ok := r.(*os.File); ok {
		s.source, err = NewSource(f)
		return Path(theirs), err
	}
	s.copies = append(s.copies, func(Kind) error { return s.feed(r) })
	return Path(theirs), nil
}

// feed copies the input.
func (s *Command) feed(r io.Reader) error {
	err := Feed(s.input, r)
	s.input.Close()
	return err
}

func (s *Command) writer(w io.Writer) (string, error) {
	if w == nil {
		return "", nil
	}
	if path, ok := s.made(w); ok {
		return path, nil
	}
	ours, theirs, err := s.Out()
	if err != nil {
		return "", err
	}
	if f, ok := w.(*os.File); ok {
		dup, err := Dup(f)
		if err != nil {
			return "", err
		}
		s.ours = append(s.ours, dup)
		w = dup
	}
	s.copies = append(s.copies, func(k Kind) error {
		_, err := io.Copy(w, ours)
		if err != nil && k.Relay {
			_, _ = io.Copy(io.Discard, ours) // the process can't be told of it
		}
		ours.Close() // so that it learns of it by SIGPIPE
		return err
	})
	return Path(theirs), nil
}

// Begin begins to copy: the process has its ends.
func (s *Command) Begin(k Kind) {
	if s.input != nil {
		if k.Relay {
			s.keepReader(k.Ended)
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
	s.Copied = make(chan error, 1)
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
	}(s.Copied)
}

// keepReader keeps the input's reading end open as long as the process lives. A
// stock shim opens its own in its own time, which may be after Start: until then
// there would be no reader, and a write would fail.
func (s *Command) keepReader(ended <-chan struct{}) {
	theirs := s.input.theirs
	s.theirs = slices.DeleteFunc(s.theirs, func(f *os.File) bool { return f == theirs })
	go func() {
		<-ended
		theirs.Close()
	}()
}

// given closes the process's ends.
func (s *Command) given() {
	for _, f := range s.theirs {
		f.Close()
	}
	s.theirs = nil
}

// Abandon lets go of everything: no process has come of it.
func (s *Command) Abandon() {
	s.given()
	s.Close()
	s.copies = nil
}

// Close closes our ends, and ends the reading of a file that is the input.
func (s *Command) Close() {
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
	kind   Kind
	last   byte
}

// begin is called when there is a process.
func (i *input) begin(k Kind) {
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
	if i.kind.TTY {
		_, _ = i.file.Write(EndOfInput(i.last))
	}
	err := i.file.Close()
	if i.kind.EOF != nil {
		i.kind.EOF()
	}
	return err
}
