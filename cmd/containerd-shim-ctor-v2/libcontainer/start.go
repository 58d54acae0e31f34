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
	for {
		err := awaitByte(f)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				// To libcontainer a container without its fifo is running.
				err = os.Remove(fifo)
			}
			return err
		}
		// Nobody says when the process is killed before it gets there.
		status, err := c.made.Status()
		if err != nil {
			return err
		}
		if status == runc.Stopped {
			return fmt.Errorf("%w: its process has ended", errdefs.ErrFailedPrecondition)
		}
	}
}

// awaitByte waits until f has been written to, at most a tenth of a second.
func awaitByte(f *os.File) error {
	if err := f.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, err := unix.Read(int(fd), b[:])
		switch {
		case n == 1:
			return true
		case err == nil, err == unix.EAGAIN, err == unix.EINTR:
			return false // no writer yet, or it has not written yet
		default:
			failed = os.NewSyscallError("read", err)
			return true
		}
	})
	return errors.Join(err, failed)
}
