// Package rootfs opens the root directory of a snapshot without showing it to
// the host: the mount is made in a mount namespace that lives for a moment,
// and goes on through the open directory alone. So the host's mount table
// does not change, and a program that is killed leaves no mount.
package rootfs

import (
	"fmt"
	"os"
	"runtime"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Open mounts and opens. Lookups below the root can't leave it, whatever links
// an image put there. The mount is gone when the root is closed.
func Open(mounts []mount.Mount) (*os.Root, error) {
	dir, err := os.MkdirTemp("", "ctor-rootfs-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir)
	type answer struct {
		root *os.Root
		err  error
	}
	c := make(chan answer)
	go func() {
		// Not unlocked: the thread ends with the goroutine, and the mount
		// namespace with the thread.
		runtime.LockOSThread()
		root, err := openApart(mounts, dir)
		c <- answer{root, err}
	}()
	a := <-c
	if a.err != nil {
		return nil, fmt.Errorf("open root file system: %w", a.err)
	}
	return a.root, nil
}

func openApart(mounts []mount.Mount, dir string) (*os.Root, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	if err := mount.All(mounts, dir); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}
