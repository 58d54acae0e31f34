package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

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
	w := newWatch(ctx, path, ended)
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

// Close ends the reading; a Read that waits returns, with os.ErrClosed.
func (r *Reader) Close() error { return r.close() }

// watch tells when a file changes: by inotify, or by the clock where the host
// has no more inotify instances to give, of which a user has 128 as a rule.
type watch struct {
	ctx    context.Context
	ended  <-chan struct{}
	notify *os.File // nil: by the clock
	events chan struct{}
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// interval is how often the clock looks.
const interval = 50 * time.Millisecond

func newWatch(ctx context.Context, path string, ended <-chan struct{}) *watch {
	w := &watch{ctx: ctx, ended: ended, events: make(chan struct{}, 1), closed: make(chan struct{})}
	var err error
	if w.notify, err = notify(path); err != nil {
		w.wg.Go(w.tick)
	} else {
		w.wg.Go(w.read)
	}
	return w
}

func notify(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		f.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return f, nil
}

func (w *watch) read() {
	var b [4096]byte
	for {
		if _, err := w.notify.Read(b[:]); err != nil {
			return
		}
		w.event()
	}
}

func (w *watch) tick() {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			w.event()
		case <-w.closed:
			return
		}
	}
}

func (w *watch) event() {
	select {
	case w.events <- struct{}{}:
	default:
	}
}

// wait returns true after a change, false when there will be none any more.
func (w *watch) wait() (bool, error) {
	if err := w.over(); err != nil {
		return false, err
	}
	select {
	case <-w.events:
		return true, nil
	case <-w.ended:
	case <-w.closed:
	case <-w.ctx.Done():
	}
	// It may have been the end of ctx that ended the watching for ended.
	return false, w.over()
}

// over tells why there is no more to wait for. Whoever closes may end ctx
// right after.
func (w *watch) over() error {
	err := context.Cause(w.ctx)
	select {
	case <-w.closed:
		return os.ErrClosed
	default:
		return err
	}
}

func (w *watch) close() {
	w.once.Do(func() {
		close(w.closed)
		if w.notify != nil {
			w.notify.Close()
		}
	})
	w.wg.Wait()
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
