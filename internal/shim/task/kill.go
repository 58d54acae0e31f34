package task

import (
	"errors"
	"fmt"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// kill sends a signal to a process, or to all there are.
func (c *container) kill(execID string, sig unix.Signal, all bool) error {
	p, err := c.process(execID)
	if err != nil {
		return err
	}
	if sig == unix.SIGKILL {
		defer c.thaw()
	}
	if sig == unix.SIGKILL && c.callOff() {
		return nil
	}
	// The kernel ends the rest of a pid namespace with its first.
	if !all || execID != "" || sig == unix.SIGKILL && !c.shared {
		return p.signal(sig)
	}
	g := c.cgroup()
	pids, err := g.Pids()
	if err != nil || len(pids) == 0 || p.current() == tasktypes.Status_STOPPED {
		return p.signal(sig)
	}
	for _, pid := range pids {
		if err := g.Signal(pid, sig); err != nil {
			return fmt.Errorf("signal %d: %w", sig, invalid(err))
		}
	}
	return nil
}

// invalid gives EINVAL its class.
func invalid(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return err
}

// thaw lets a frozen container die: in version 1's freezer nothing does. It goes past
// the executor, which may be busy with the container, and does not ask who froze it:
// that may have been the container itself.
func (c *container) thaw() {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	c.cgroup().Thaw()
	c.setPaused(false)
}

func (c *container) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

func (c *container) setPaused(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
}
