package container

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/quota"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// watchDisk ends a life that has more on the disk than it may.
func (c *Container) watchDisk(ctx context.Context, l life.Life) {
	mounts, err := c.layer(ctx)
	if err != nil {
		return
	}
	w := quota.Watch{
		Bytes: c.about.Disk,
		Dirs:  []string{rootfs.Upper(mounts), filepath.Dir(c.e.Anonymous(c.ID(), 0))},
		Spent: cgroup.At(c.cgroup()).CPU,
		Over: func() {
			c.overfull.Store(true)
			_ = c.first().Signal(ctx, syscall.SIGKILL) // an error: it has ended by itself
		},
	}
	w.Run(life.During(ctx, l))
}
