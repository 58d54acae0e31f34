package container

import (
	"context"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// watchDisk ends a life that has more on the disk than it may. It looks once a second,
// and where there is so much that a look takes long, less often.
func (c *Container) watchDisk(ctx context.Context, l life.Life) {
	mounts, err := c.layer(ctx)
	if err != nil {
		return
	}
	dirs := []string{rootfs.Upper(mounts), filepath.Dir(c.e.Anonymous(c.ID(), 0))}
	ended := life.Ended(ctx, l)
	evaded := 0 // looks in a row that could not be made
	for pause := time.Duration(0); ; {
		select {
		case <-time.After(pause):
		case <-ended:
			return
		case <-c.closed:
			return
		}
		began := time.Now()
		used, err := uses(ctx, dirs)
		if err == nil {
			evaded = 0
		} else {
			evaded++
		}
		if used > c.about.Disk || evaded > maxEvaded {
			c.overfull.Store(true)
			_ = c.first().Signal(ctx, syscall.SIGKILL) // an error: it has ended by itself
		}
		pause = max(time.Second, 20*time.Since(began))
	}
}

// maxEvaded is how many looks in a row may fail: a container that moves directories
// without end, or makes them too deep, can't be looked at.
const maxEvaded = 10

// uses adds up what is in directories. One that is not there has nothing.
func uses(ctx context.Context, dirs []string) (bytes int64, err error) {
	for _, dir := range dirs {
		root, err := rootfs.OpenDir(dir)
		if err != nil {
			continue
		}
		n, err := root.In(ctx).Usage(ctx)
		bytes += n
		root.Close()
		if err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}
