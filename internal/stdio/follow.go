package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Reader gives the bytes of a log.
type Reader struct {
	frames  *frames
	pending []byte
	ended   bool
	changed *watch // nil: don't follow
	close   func() error
}

// Open reads the log at path. With follow, Read waits for more until the log
// is complete, ended is closed and all is read, or ctx ends, which is an error.
func Open(ctx context.Context, path string, follow bool, ended <-chan struct{}) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{frames: newFrames(f), close: f.Close}
	if !follow {
		return r, nil
	}
	w, err := newWatch(ctx, path, ended)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.changed = w
	r.close = func() error { w.close(); return f.Close() }
	return r, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

func (r *Reader) fill() error {
	var last bool
	for {
		fr, err := r.frames.next()
		switch {
		case err == nil && fr.stream == end:
			r.ended = true
			return nil
		case err == nil:
			r.pending = fr.data
			return nil
		case !errors.Is(err, errShort):
			return err
		case r.changed == nil || last:
			r.ended = true
			return nil
		}
		more, err := r.changed.wait()
		if err != nil {
			return err
		}
		// What was written before the container ended is read once more.
		last = !more
	}
}

// Close ends the reading; a Read that waits returns.
func (r *Reader) Close() error { return r.close() }

// watch tells when a file changes.
type watch struct {
	ctx    context.Context
	ended  <-chan struct{}
	notify *os.File
	events chan struct{}
	done   chan struct{}
	once   sync.Once
}

func newWatch(ctx context.Context, path string, ended <-chan struct{}) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		f.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &watch{ctx: ctx, ended: ended, notify: f, events: make(chan struct{}, 1), done: make(chan struct{})}
	go w.read()
	return w, nil
}

func (w *watch) read() {
	defer close(w.done)
	var b [4096]byte
	for {
		if _, err := w.notify.Read(b[:]); err != nil {
			return
		}
		select {
		case w.events <- struct{}{}:
		default:
		}
	}
}

// wait returns true after a change, false when there will be none any more.
func (w *watch) wait() (bool, error) {
	select {
	case <-w.events:
		return true, nil
	default:
	}
	select {
	case <-w.events:
		return true, nil
	case <-w.ended:
		return false, nil
	case <-w.done:
		return false, os.ErrClosed
	case <-w.ctx.Done():
		return false, w.ctx.Err()
	}
}

func (w *watch) close() {
	w.once.Do(func() { w.notify.Close() })
	<-w.done
}

// Complete waits until the log at path has been brought to its end.
func Complete(ctx context.Context, path string) error {
	r, err := Open(ctx, path, true, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
