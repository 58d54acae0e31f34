// Package host is the one room that asks what this host offers. It names what is
// missing together with the command that mends it.
package host

import (
	"bufio"
	"bytes"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"golang.org/x/sys/unix"
)

// Snapshotter gives the best snapshotter for a root: overlayfs where the
// kernel has it and the root's file system can carry it, else native, which
// copies every layer.
func Snapshotter(root string) string {
	files, err := os.ReadFile("/proc/filesystems")
	if err == nil && overlayListed(files) && carriesOverlay(root) {
		return "overlayfs"
	}
	if mountsOverlay(root) {
		return "overlayfs"
	}
	return "native"
}

// NoOverlay says why it is native.
func NoOverlay(root string) string {
	if files, err := os.ReadFile("/proc/filesystems"); err == nil && !overlayListed(files) {
		return "the kernel has no overlay file system, so each container copies its image: modprobe overlay"
	}
	return fmt.Sprintf("the file system of %s carries no overlay, so each container copies its image: give Config.Root a directory on ext4, xfs, btrfs or tmpfs", root)
}

// mountsOverlay tries a mount. It is asked second, for a kernel that loads the
// module on demand and does not list it yet. It does so in an empty directory:
// the first read of a root with many entries makes a program built with -race
// crash.
func mountsOverlay(root string) bool {
	dir, err := os.MkdirTemp(root, "overlay-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	return overlayutils.Supported(dir) == nil
}

// overlayListed reads /proc/filesystems.
func overlayListed(filesystems []byte) bool {
	for s := bufio.NewScanner(bytes.NewReader(filesystems)); s.Scan(); {
		f := bytes.Fields(s.Bytes())
		if len(f) > 0 && string(f[len(f)-1]) == "overlay" {
			return true
		}
	}
	return false
}

// carriesOverlay tells whether root's file system is known to serve as upper
// layer. Overlay itself, network and fuse file systems are not; others are
// left to the kernel's judgement.
func carriesOverlay(root string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(root, &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC:
		return true
	}
	return false
}
