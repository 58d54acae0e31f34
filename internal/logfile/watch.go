package logfile

import (
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watch tells when a file changes: by inotify, or by the clock where the host has
// no more of it: a user usually may have 128 instances.
type watch struct {
	ctx     context.Context
	ended   func() <-chan struct{}
	notify  *os.File // nil: there is none
	file    int      // inotify's number for the file; -1: none yet
	ticking bool
	events  chan struct{}
	closed  chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// interval is how often the clock looks.
const interval = 50 * time.Millisecond

func newWatch(ctx context.Context, ended func() <-chan struct{}) *watch {
	w := &watch{ctx: ctx, ended: ended, file: -1, events: make(chan struct{}, 1), closed: make(chan struct{})}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		w.notify = os.NewFile(uintptr(fd), "inotify")
		w.wg.Go(w.read)
	}
	return w
}

// turn watches f instead of what it watched before.
func (w *watch) turn(f *os.File) {
	if !w.observe(f) && !w.ticking {
		w.ticking = true
		w.wg.Go(w.tick)
	}
}

func (w *watch) observe(f *os.File) (ok bool) {
	if w.notify == nil {
		return false
	}
	raw, err := w.notify.SyscallConn()
	if err != nil {
		return false
	}
	// Through the descriptor: the name may be gone.
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	_ = raw.Control(func(fd uintptr) {
		if w.file >= 0 {
			_, _ = unix.InotifyRmWatch(int(fd), uint32(w.file)) // an error: it went with its file
		}
		w.file, err = unix.InotifyAddWatch(int(fd), path, unix.IN_MODIFY)
	})
	return err == nil
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
	for {
		var ended <-chan struct{}
		if w.ended != nil {
			ended = w.ended()
		}
		select {
		case <-w.events:
			return true, nil
		case <-ended:
			if ended != w.ended() {
				continue // what it was the end of has begun again
			}
		case <-w.closed:
		case <-w.ctx.Done():
		}
		break
	}
	// It may have been the end of ctx that ended the watching for ended.
	return false, w.over()
}

// over gives the reason why there is no more to wait for. The goroutine that
// closes may end ctx right after.
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
