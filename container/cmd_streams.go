package container

import (
	"io"
	"os"
	"strings"
	"sync"

	"github.com/ctorhq/ctor/internal/stdio"
)

// streams are a command's pipes. They have no names: the runtime opens the
// process's ends through this program's descriptors.
type streams struct {
	theirs []*os.File  // until the process has them
	ours   []io.Closer // until Wait is done
	copies []func() error
	copied chan error // gets the first error of the copies, once all have ended; nil: there are none

	// An *os.File that is the input is not waited for: its copy is stopped.
	source  *stdio.Source
	sourced sync.WaitGroup
	feed    func()
}

// open makes the pipes that are not there yet, and gives their paths.
func (s *streams) open(c *Cmd) (in, out, eout string, err error) {
	if in, err = s.reader(c.Stdin, c.TTY); err != nil {
		return "", "", "", err
	}
	if out, err = s.writer(c.Stdout); err != nil {
		return "", "", "", err
	}
	switch {
	case c.TTY:
	case c.Stderr != nil && stdio.Same(c.Stdout, c.Stderr):
		eout = out
	default:
		eout, err = s.writer(c.Stderr)
	}
	return in, out, eout, err
}

// made gives the path of a pipe of our own making.
func (s *streams) made(f *os.File) (path string, ok bool) {
	for _, t := range s.theirs {
		if t == f {
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
	if f, ok := r.(*os.File); ok {
		if path, ok := s.made(f); ok {
			return path, nil
		}
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return "", err
	}
	s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	if f, ok := r.(*os.File); ok {
		s.source, err = stdio.NewSource(f)
		s.feed = func() { _ = stdio.Feed(ours, s.source, tty); ours.Close() }
		return stdio.Path(theirs), err
	}
	s.copies = append(s.copies, func() error {
		err := stdio.Feed(ours, r, tty)
		ours.Close()
		return err
	})
	return stdio.Path(theirs), nil
}

func (s *streams) writer(w io.Writer) (string, error) {
	if w == nil {
		return "", nil
	}
	if f, ok := w.(*os.File); ok {
		if path, ok := s.made(f); ok {
			return path, nil
		}
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return "", err
	}
	s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	if f, ok := w.(*os.File); ok {
		dup, err := stdio.Dup(f)
		if err != nil {
			return "", err
		}
		s.ours = append(s.ours, dup)
		w = dup
	}
	s.copies = append(s.copies, func() error {
		_, err := io.Copy(w, ours)
		ours.Close() // so that the process learns of a writer that failed
		return err
	})
	return stdio.Path(theirs), nil
}

// begin copies: the process has its ends.
func (s *streams) begin() {
	s.given()
	if s.feed != nil {
		s.sourced.Go(s.feed)
	}
	if len(s.copies) == 0 {
		return
	}
	s.copied = make(chan error, 1)
	ended := make(chan error)
	for _, copy := range s.copies {
		go func() { ended <- copy() }()
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
