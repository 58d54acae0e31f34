package stdio

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Dup gives a descriptor of our own for a file of the program's, which it may
// close meanwhile.
func Dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var derr error
	if raw.Control(func(own uintptr) { fd, derr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }) != nil {
		return nil, &os.PathError{Op: "dup", Path: f.Name(), Err: os.ErrClosed}
	}
	if derr != nil {
		return nil, os.NewSyscallError("fcntl", derr)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Source reads a file of the program's, such as os.Stdin, until it is stopped,
// also where the read waits for a person to type. It takes nothing that comes
// after that.
type Source struct {
	f          *os.File
	wake, stop *os.File // the ends of a pipe; nil where closing f ends a read
	once       sync.Once
}

// NewSource makes a source of a descriptor of its own for f.
func NewSource(f *os.File) (_ *Source, err error) {
	s := &Source{}
	if s.f, err = Dup(f); err != nil {
		return nil, err
	}
	// What is in Go's poller says so by taking a deadline.
	if errors.Is(s.f.SetReadDeadline(time.Time{}), os.ErrNoDeadline) {
		if s.wake, s.stop, err = os.Pipe(); err != nil {
			s.f.Close()
			return nil, err
		}
	}
	return s, nil
}

// Read implements io.Reader. After Stop it gives os.ErrClosed.
func (s *Source) Read(p []byte) (int, error) {
	if s.wake == nil {
		return s.f.Read(p)
	}
	fds := []unix.PollFd{{Fd: int32(s.f.Fd()), Events: unix.POLLIN}, {Fd: int32(s.wake.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == nil {
			break
		} else if err != unix.EINTR {
			return 0, os.NewSyscallError("poll", err)
		}
	}
	if fds[1].Revents != 0 {
		return 0, os.ErrClosed
	}
	return s.f.Read(p)
}

// Stop ends a Read under way, and all after it.
func (s *Source) Stop() {
	s.once.Do(func() {
		if s.stop != nil {
			s.stop.Close()
			return
		}
		s.f.Close()
	})
}

// Close lets go of the file, when nothing reads any more.
func (s *Source) Close() {
	s.Stop()
	if s.wake != nil {
		s.wake.Close()
		s.f.Close()
	}
}
