// Package stdio carries the standard streams of processes: between pipes and the
// program's readers and writers, and into a container's log.
package stdio

import (
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/logfile"
)

// Streams are the streams of one process, a container's first or a command. They
// go through pipes, which have no names: the runtime opens the process's ends
// through this program's descriptors. The zero value is ready.
type Streams struct {
	config cio.Config
	input  *stdin // nil: there is none
	copies []func(Kind) error

	mu     sync.Mutex
	theirs []*os.File  // the process's ends, until it has them
	ours   []io.Closer // until Close
	fed    portion     // what feeds the input, if its reading can be stopped
	err    error

	feeding sync.WaitGroup // the reading of fed
	copied  chan struct{}  // nil before Begin
}

// Kind is how the other ends of the pipes behave.
type Kind struct {
	Relay bool            // the runtime copies between them and the process
	EOF   func()          // tells such a runtime that the input has ended
	Ended <-chan struct{} // closed when the process has ended; for a Relay
}

// Open makes the pipes of a command that are not there yet. A nil reader or writer
// has none. One writer for both streams of output gets one pipe.
func (s *Streams) Open(stdin io.Reader, stdout, stderr io.Writer, tty bool) (err error) {
	s.config.Terminal = tty
	if stdin == nil && tty {
		stdin = strings.NewReader("") // or it would wait for a person to type
	}
	if err := s.read(stdin); err != nil {
		return err
	}
	if s.config.Stdout, err = s.write(stdout); err != nil || tty {
		return err
	}
	if stderr != nil && same(stdout, stderr) {
		s.config.Stderr = s.config.Stdout
		return nil
	}
	s.config.Stderr, err = s.write(stderr)
	return err
}

// OpenLogged makes the pipes of a process whose output goes into a log, which is asked
// for by Begin, and to writers where they are not nil.
func (s *Streams) OpenLogged(stdin io.Reader, stdout, stderr io.Writer, tty bool, log func() *logfile.Writer) (err error) {
	s.config.Terminal = tty
	if err := s.read(stdin); err != nil {
		return err
	}
	stdout, stderr = share(stdout, stderr)
	to := func(stream logfile.Stream, w io.Writer) (string, error) {
		return s.drain(func(from io.Reader) error { return log().Copy(stream, w, from) })
	}
	if s.config.Stdout, err = to(logfile.Stdout, stdout); err != nil || tty {
		return err
	}
	s.config.Stderr, err = to(logfile.Stderr, stderr)
	return err
}

// Config tells the runtime where to open the process's ends.
func (s *Streams) Config() cio.Config { return s.config }

// In makes a pipe that the process reads, and gives both ends.
func (s *Streams) In() (ours io.WriteCloser, theirs *os.File, err error) {
	theirs, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s.input = &stdin{file: w, theirs: theirs, tty: &s.config.Terminal}
	s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, w)
	return s.input, theirs, nil
}

// Out makes a pipe that the process writes, and gives both ends.
func (s *Streams) Out() (ours, theirs *os.File, err error) {
	ours, theirs, err = os.Pipe()
	if err == nil {
		s.theirs, s.ours = append(s.theirs, theirs), append(s.ours, ours)
	}
	return ours, theirs, err
}

// made gives the path of a pipe that In or Out has made.
func (s *Streams) made(stream any) (path string, ok bool) {
	for _, f := range s.theirs {
		if stream == any(f) {
			return Path(f), true
		}
	}
	return "", false
}

// read has the process read r. A file or a portion of an Input is not waited for:
// its reading is stopped.
func (s *Streams) read(r io.Reader) (err error) {
	if r == nil {
		return nil
	}
	path, ok := s.made(r)
	if ok {
		s.config.Stdin = path
		return nil
	}
	_, theirs, err := s.In()
	if err != nil {
		return err
	}
	s.config.Stdin = Path(theirs)
	switch r := r.(type) {
	case *os.File:
		source, err := NewSource(r)
		if err != nil {
			return err
		}
		s.fed = source
	case portion:
		s.fed = r
	default:
		s.copies = append(s.copies, func(Kind) error {
			defer s.input.Close()
			return Feed(s.input, r)
		})
	}
	return nil
}

// write has what the process writes copied to w. It makes its own descriptor of a
// file, which may be closed meanwhile.
func (s *Streams) write(w io.Writer) (path string, err error) {
	if w == nil {
		return "", nil
	}
	if path, ok := s.made(w); ok {
		return path, nil
	}
	if f, ok := w.(*os.File); ok {
		dup, err := Dup(f)
		if err != nil {
			return "", err
		}
		s.ours = append(s.ours, dup)
		w = dup
	}
	return s.drain(func(from io.Reader) error {
		_, err := io.Copy(w, from)
		return err
	})
}

// drain has a copy take what the process writes to a stream.
func (s *Streams) drain(copy func(from io.Reader) error) (path string, err error) {
	ours, theirs, err := s.Out()
	if err != nil {
		return "", err
	}
	s.copies = append(s.copies, func(k Kind) error {
		defer ours.Close() // so that the process learns by SIGPIPE that it was the last
		err := copy(ours)
		if err != nil && k.Relay {
			_, _ = io.Copy(io.Discard, ours) // the process can't be told
		}
		return err
	})
	return Path(theirs), nil
}

// Begin begins to copy: the process runs, and has its ends. What is in the pipes of
// one that could not be started is not the process's: runtimes complain there.
func (s *Streams) Begin(k Kind) {
	if s.input != nil {
		if k.Relay {
			s.keepReader(k.Ended)
		}
		s.input.begin(k)
	}
	s.given()
	if s.fed != nil {
		s.feeding.Add(1)
		go s.feed()
	}
	s.copied = make(chan struct{})
	if len(s.copies) == 0 {
		close(s.copied)
		return
	}
	var copies sync.WaitGroup
	for _, copy := range s.copies {
		copies.Go(func() { s.failed(copy(k)) })
	}
	s.copies = nil
	go func() {
		copies.Wait()
		close(s.copied)
	}()
}

// feed copies the input from what can be stopped. An error after that is none.
func (s *Streams) feed() {
	err := Feed(s.input, s.fed)
	s.fed.Close()
	if !errors.Is(err, os.ErrClosed) {
		s.failed(err)
	}
	s.feeding.Done()
	s.input.Close()
}

// keepReader keeps the input's reading end open as long as the process lives. A
// stock shim opens its own in its own time, which may be after Start: until then
// there would be no reader, and a write would fail.
func (s *Streams) keepReader(ended <-chan struct{}) {
	theirs := s.input.theirs
	s.mu.Lock()
	s.theirs = slices.DeleteFunc(s.theirs, func(f *os.File) bool { return f == theirs })
	s.mu.Unlock()
	go func() {
		<-ended
		theirs.Close()
	}()
}

// given closes the process's ends.
func (s *Streams) given() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.theirs {
		f.Close()
	}
	s.theirs = nil
}

func (s *Streams) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

// Copied is closed when the last byte of output is copied, and all of the input
// that is waited for. nil before Begin.
func (s *Streams) Copied() <-chan struct{} { return s.copied }

// Err is what has gone wrong with the copies.
func (s *Streams) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// StopInput ends the reading of an input that is not waited for.
func (s *Streams) StopInput() {
	if s.fed != nil {
		s.fed.Stop()
	}
}

// Close lets go of all ends. It does not wait for output: a copy may be in a Write
// of the program's that never returns.
func (s *Streams) Close() {
	s.given()
	s.StopInput()
	s.mu.Lock()
	ours := s.ours
	s.ours = nil
	s.mu.Unlock()
	for _, c := range ours {
		c.Close()
	}
	s.feeding.Wait()
	if s.fed != nil && s.copied == nil {
		s.fed.Close() // it was never read
	}
}

// share puts a lock around one writer that takes both streams. Without it
// output was lost in one of five runs with a bytes.Buffer.
func share(out, err io.Writer) (io.Writer, io.Writer) {
	if out == nil || err == nil || !same(out, err) {
		return out, err
	}
	l := &locked{w: out}
	return l, l
}

// same tells whether two writers are one.
func same(a, b io.Writer) bool {
	// Types that can't be compared would panic; they are never the same.
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
