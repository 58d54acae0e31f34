package container

import (
	"context"
	"fmt"
	"os"
	"syscall"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"
)

// Signal sends a signal to the container's first process, which the kernel
// drops if it has no handler for it, other than SIGKILL and SIGSTOP. A
// container that has ended, or was not started, is ctor.ErrNotFound; a sig that
// is no syscall.Signal is ctor.ErrInvalid.
func (c *Container) Signal(ctx context.Context, sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok || n < 1 || n > 64 {
		return c.wrap("signal", invalid("%v is no signal of this system", sig))
	}
	return c.tell(ctx, "signal", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Created || s == containerd.Stopped {
			return fmt.Errorf("it is %s: %w", s, errdefs.ErrNotFound)
		}
		return c.first().Signal(ctx, n)
	})
}

// parseSignal reads "SIGTERM", "TERM", "15" or "SIGRTMIN+3".
func parseSignal(s string) (syscall.Signal, error) {
	n, err := signal.ParseSignal(s)
	if err != nil || n < 1 || n > 64 {
		return 0, invalid("signal %q is not known", s)
	}
	return n, nil
}
