// Package stdio carries a container's standard streams: between fifos and the
// program's readers and writers, and into the container's log.
package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/fifo"

	"github.com/ctorhq/ctor/internal/logfile"
)

// Streams are the program's ends. nil is no input, or output to the log only.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool // Err is not used
}

// Fifos connects a container's streams through fifos. It implements cio.IO.
type Fifos struct {
	config cio.Config
	cancel context.CancelFunc
	files  []io.Closer
	in     io.Reader
	stdin  io.WriteCloser
	copies sync.WaitGroup
	err    error // of the copies
	mu     sync.Mutex
}

// Connect makes the fifos in dir and begins to copy output, into log too.
func Connect(dir string, s Streams, log *logfile.Writer) (_ *Fifos, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Fifos{cancel: cancel, in: s.In, config: cio.Config{Terminal: s.TTY}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f.Wait()
		}
	}()
	open := func(name string, flag int) (io.ReadWriteCloser, string, error) {
		path := filepath.Join(dir, name)
		p, err := fifo.OpenFifo(ctx, path, flag|syscall.O_CREAT|syscall.O_NONBLOCK, 0o600)
		if err == nil {
			f.files = append(f.files, p)
		}
		return p, path, err
	}
	if s.In != nil {
		if f.stdin, f.config.Stdin, err = open("stdin", syscall.O_WRONLY); err != nil {
			return nil, err
		}
	}
	s.Out, s.Err = share(s.Out, s.Err)
	out, path, err := open("stdout", syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	f.config.Stdout = path
	f.copy(log, logfile.Stdout, s.Out, out)
	if s.TTY {
		return f, nil
	}
	eout, path, err := open("stderr", syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	f.config.Stderr = path
	f.copy(log, logfile.Stderr, s.Err, eout)
	return f, nil
}

func (f *Fifos) copy(log *logfile.Writer, s logfile.Stream, w io.Writer, r io.ReadCloser) {
	f.copies.Go(func() {
		f.failed(log.Copy(s, w, r))
		r.Close()
	})
}

func (f *Fifos) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(f.err, err)
}

// Feed copies the input, and calls eof when there is no more. It returns at
// once. A Read of the program's that never returns keeps its goroutine, as
// with os/exec.
//
// A terminal's input does not end by being closed: that hangs it up, and what
// the container has to say after it is lost. So it ends as it does under a
// person's hands, by the character for it, and eof is not called.
func (f *Fifos) Feed(eof func()) {
	if f.stdin == nil {
		return
	}
	go func() {
		f.failed(Feed(f.stdin, f.in, f.config.Terminal))
		if !f.config.Terminal {
			f.stdin.Close()
			eof()
		}
	}()
}

// Feed copies input to a process, and the end of it to a terminal. Its error
// is the input's alone: a process need not read.
func Feed(to io.Writer, from io.Reader, tty bool) error {
	in := &reader{Reader: from}
	_, _ = io.Copy(to, in)
	if tty {
		_, _ = to.Write(in.veof())
	}
	return in.err
}

// reader keeps what it ended with.
type reader struct {
	io.Reader
	last byte
	err  error
}

// veof is ^D, which ends a line or, at the beginning of one, the input.
func (r *reader) veof() []byte {
	if r.last == '\n' || r.last == 0 {
		return []byte{4}
	}
	return []byte{4, 4}
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.last = p[n-1]
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// Err is what has gone wrong with the copies. After Wait that is all there
// will be of output; input may be copied longer.
func (f *Fifos) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Config implements cio.IO.
func (f *Fifos) Config() cio.Config { return f.config }

// Wait implements cio.IO: it returns when all output is copied, or given up.
func (f *Fifos) Wait() { f.copies.Wait() }

// Cancel implements cio.IO: it ends opens that wait for the other end, and
// reads.
func (f *Fifos) Cancel() {
	f.cancel()
	for _, c := range f.files {
		c.Close()
	}
}

// Close implements cio.IO. It does not wait: a copy may be in a Write of the
// program's that never returns.
func (f *Fifos) Close() error {
	f.Cancel()
	var errs []error
	for _, p := range []string{f.config.Stdin, f.config.Stdout, f.config.Stderr} {
		if p == "" {
			continue
		}
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
