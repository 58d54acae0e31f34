package main

import (
	"context"
	"fmt"
	"sync/atomic"
)

// ctr is containerd's command line tool: a daemon, a stock shim for each
// container, and runc.
type ctr struct {
	daemon *containerd
	n      atomic.Int64
}

func (c *ctr) name() string { return "ctr run --rm --seccomp" }

func (c *ctr) start(ctx context.Context, b *bench) (err error) {
	c.daemon, err = b.needContainerd(ctx)
	return err
}

func (c *ctr) life(ctx context.Context) error {
	id := fmt.Sprintf("ctr-%d", c.n.Add(1))
	return c.daemon.run(ctx, "run", "--rm", "--seccomp", "--fifo-dir", c.fifos(), ref, id, "true")
}

func (c *ctr) fifos() string { return c.daemon.socket + ".fifo" }

func (c *ctr) box(ctx context.Context) (func() error, error) {
	if err := c.daemon.run(ctx, "run", "--detach", "--seccomp", "--fifo-dir", c.fifos(), ref, "box", "sleep", "1000"); err != nil {
		return nil, err
	}
	return func() error {
		ctx := context.Background()
		if err := c.daemon.run(ctx, "task", "delete", "--force", "box"); err != nil {
			return err
		}
		return c.daemon.run(ctx, "container", "delete", "box")
	}, nil
}

func (c *ctr) exec(ctx context.Context) error {
	id := fmt.Sprintf("exec-%d", c.n.Add(1))
	return c.daemon.run(ctx, "task", "exec", "--fifo-dir", c.fifos(), "--exec-id", id, "box", "true")
}
