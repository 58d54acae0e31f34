package libcontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// Start lets the first process run: it waits in the opening of a fifo for
// somebody to open the other end.
//
// libcontainer's own Exec does that too, with a thread that opens, and hangs
// for ever when the process has been killed before.
func (c *Container) Start(ctx context.Context) error {
	err := c.lock(ctx)
	if err == nil {
		defer c.unlock()
		err = c.start()
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.made.ID(), err)
	}
	return nil
}

// start is not stopped half-way: once the fifo is open the process goes on,
// whoever hears of it.
func (c *Container) start() error {
	fifo := filepath.Join(c.root, c.made.ID(), "exec.fifo")
	// With O_NONBLOCK opening a fifo for reading waits for nobody.
	f, err := os.OpenFile(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: it was started before", errdefs.ErrFailedPrecondition)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for ended := false; ; {
		began, err := awaitByte(f)
		switch {
		case err != nil:
			return err
		case began:
			// To libcontainer a container without its fifo is running.
			return os.Remove(fifo)
		case ended:
			return fmt.Errorf("%w: its process has ended", errdefs.ErrFailedPrecondition)
		}
		// Nobody says when the process is killed before it gets there. One that
		// got there, and has ended since, has left its byte.
		if ended, err = c.ended(); err != nil {
			return err
		}
	}
}

func (c *Container) ended() (bool, error) {
	status, err := c.made.Status()
	return status == runc.Stopped, err
}

// glance is how long Start waits for a byte before it looks for the process.
var glance = 100 * time.Millisecond

// awaitByte waits until f has been written to, for a glance. What is there
// counts, however late it is: a read whose deadline has passed reads nothing.
func awaitByte(f *os.File) (got bool, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var failed error
	try := func(fd uintptr) bool {
		got, failed = tryRead(fd)
		return got || failed != nil
	}
	if err = raw.Control(func(fd uintptr) { try(fd) }); err != nil || got || failed != nil {
		return got, errors.Join(err, failed)
	}
	if err = f.SetReadDeadline(time.Now().Add(glance)); err != nil {
		return false, err
	}
	if err = raw.Read(try); errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return got, errors.Join(err, failed)
}

func tryRead(fd uintptr) (bool, error) {
	var b [1]byte
	n, err := unix.Read(int(fd), b[:])
	switch {
	case n == 1:
		return true, nil
	case err == nil, err == unix.EAGAIN, err == unix.EINTR:
		return false, nil // no writer yet, or it has not written yet
	default:
		return false, os.NewSyscallError("read", err)
	}
}
