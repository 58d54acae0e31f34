package container

import (
	"context"
	"fmt"
	"os"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/life"
)

// Signal sends a signal to the container's first process, which the kernel
// drops if it has no handler for it, other than SIGKILL and SIGSTOP. A
// container that has ended, or was not started, is ctor.ErrNotFound; a sig that
// is no syscall.Signal is ctor.ErrInvalid.
func (c *Container) Signal(ctx context.Context, sig os.Signal) error {
	n, err := life.Number(sig)
	if err != nil {
		return c.wrap("signal", err)
	}
	return c.tell(ctx, "signal", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Created || s == containerd.Stopped {
			return fmt.Errorf("it is %s: %w", s, errdefs.ErrNotFound)
		}
		return c.first().Signal(ctx, n)
	})
}
