// Package stdio carries a container's standard streams: between pipes and the
// program's readers and writers, and into the container's log.
package stdio

import (
	"errors"
	"io"
	"reflect"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/logfile"
)

// Streams are the program's ends. nil is no input, or output to the log only.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool // Err is not used
}

// Connection joins a container's streams to the program's. It implements
// cio.IO.
type Connection struct {
	config cio.Config
	ends   ends
	files  []io.Closer
	in     io.Reader
	stdin  io.WriteCloser
	output []func() // copies that are to begin
	copies sync.WaitGroup
	err    error // of the copies
	mu     sync.Mutex
}

// ends makes what a stream goes through.
type ends interface {
	// open gives our end, and the path by which the runtime opens the other.
	open(name string, input bool) (ours io.ReadWriteCloser, path string, err error)
	// given is called when the runtime has opened its ends.
	given()
	// close takes back what open made, but for our ends.
	close() error
}

// Connect makes a connection through fifos in dir, which any runtime of this
// host can open. Output is copied into log too.
func Connect(dir string, s Streams, log *logfile.Writer) (*Connection, error) {
	return connect(newFifos(dir), s, log)
}

// Pipe makes a connection through pipes without a name, for a runtime that is
// this program's child. Given must be called.
func Pipe(s Streams, log *logfile.Writer) (*Connection, error) { return connect(&pipes{}, s, log) }

// Hand makes a connection of what is there already, and copies nothing.
func Hand(c cio.Config) *Connection { return &Connection{config: c, ends: &pipes{}} }

func connect(e ends, s Streams, log *logfile.Writer) (_ *Connection, err error) {
	c := &Connection{ends: e, in: s.In, config: cio.Config{Terminal: s.TTY}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c.Wait()
		}
	}()
	if s.In != nil {
		if c.stdin, c.config.Stdin, err = c.open("stdin", true); err != nil {
			return nil, err
		}
	}
	s.Out, s.Err = share(s.Out, s.Err)
	if c.config.Stdout, err = c.outputTo(log, logfile.Stdout, s.Out, "stdout"); err != nil || s.TTY {
		return c, err
	}
	c.config.Stderr, err = c.outputTo(log, logfile.Stderr, s.Err, "stderr")
	return c, err
}

func (c *Connection) open(name string, input bool) (io.ReadWriteCloser, string, error) {
	f, path, err := c.ends.open(name, input)
	if err == nil {
		c.files = append(c.files, f)
	}
	return f, path, err
}

func (c *Connection) outputTo(log *logfile.Writer, s logfile.Stream, w io.Writer, name string) (string, error) {
	f, path, err := c.open(name, false)
	if err == nil {
		c.output = append(c.output, func() {
			c.failed(log.Copy(s, w, f))
			f.Close()
		})
	}
	return path, err
}

// Given says that the runtime has opened its ends of the streams.
func (c *Connection) Given() { c.ends.given() }

func (c *Connection) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// Begin begins to copy, once the process has been started. What is in the pipes
// of one that could not be is not the container's: runtimes have its standard
// error while they make it, and complain there.
func (c *Connection) Begin(eof func()) {
	for _, copy := range c.output {
		c.copies.Go(copy)
	}
	c.output = nil
	c.feed(eof)
}

// feed copies the input, and calls eof when there is no more. It returns at
// once. A Read of the program's that never returns keeps its goroutine, as
// with os/exec.
//
// A terminal's input does not end by being closed: that hangs it up, and what
// the container has to say after it is lost. So it ends as it does under a
// person's hands, by the character for it, and eof is not called.
func (c *Connection) feed(eof func()) {
	if c.stdin == nil {
		return
	}
	go func() {
		in := &last{Writer: c.stdin}
		c.failed(Feed(in, c.in))
		if c.config.Terminal {
			_, _ = c.stdin.Write(EndOfInput(in.byte))
			return
		}
		c.stdin.Close()
		eof()
	}()
}

// Feed copies the input of a process. Its error is the input's alone: a
// process need not read.
func Feed(to io.Writer, from io.Reader) error {
	in := &reader{Reader: from}
	_, _ = io.Copy(to, in)
	return in.err
}

// reader keeps what it ended with.
type reader struct {
	io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// last keeps the last byte.
type last struct {
	io.Writer
	byte byte
}

func (l *last) Write(p []byte) (int, error) {
	n, err := l.Writer.Write(p)
	if n > 0 {
		l.byte = p[n-1]
	}
	return n, err
}

// EndOfInput is what ends the input of a terminal after a last byte, 0 if there
// was none: ^D, which ends a line or, at the beginning of one, the input.
func EndOfInput(last byte) []byte {
	if last == '\n' || last == 0 {
		return []byte{4}
	}
	return []byte{4, 4}
}

// Err is what has gone wrong with the copies. After Wait that is all there
// will be of output; input may be copied longer.
func (c *Connection) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Config implements cio.IO.
func (c *Connection) Config() cio.Config { return c.config }

// Wait implements cio.IO: it returns when all output is copied, or given up. It
// is called after Begin, or when there will be none.
func (c *Connection) Wait() { c.copies.Wait() }

// Cancel implements cio.IO: it ends opens that wait for the other end, and
// reads.
func (c *Connection) Cancel() {
	for _, f := range c.files {
		f.Close()
	}
}

// Close implements cio.IO. It does not wait: a copy may be in a Write of the
// program's that never returns.
func (c *Connection) Close() error {
	c.Cancel()
	return c.ends.close()
}

// share puts a lock around one writer that takes both streams. Without it
// output was lost in one of five runs with a bytes.Buffer.
func share(out, err io.Writer) (io.Writer, io.Writer) {
	if out == nil || err == nil || !Same(out, err) {
		return out, err
	}
	l := &locked{w: out}
	return l, l
}

// Same tells whether two writers are one.
func Same(a, b io.Writer) bool {
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
