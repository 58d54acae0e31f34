package container

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
)

// Resize sets the size of the command's terminal, in characters. Before Start it
// is the size that the terminal begins with, else the command is told of the
// change by SIGWINCH. One that has ended is os.ErrProcessDone; one without TTY
// is ctor.ErrInvalid.
func (c *Cmd) Resize(width, height uint16) error {
	if !c.TTY {
		return c.wrap("resize terminal of", invalid("it has none"))
	}
	if c.Process == nil {
		c.width, c.height = width, height
		return nil
	}
	if err := c.Process.life.Resize(width, height); err != nil {
		return c.wrap("resize terminal of", err)
	}
	return nil
}

// Resize sets the size of the terminal of the container's first process, in
// characters; the process is told of it by SIGWINCH. A container without TTY,
// or one that has ended, is ctor.ErrInvalid.
func (c *Container) Resize(ctx context.Context, width, height uint16) error {
	return c.tell(ctx, "resize terminal of", func(ctx context.Context, s containerd.ProcessStatus) error {
		if s == containerd.Stopped {
			return invalid("it is %s", s)
		}
		return c.first().Resize(ctx, width, height)
	})
}
