package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
)

// lobby is where root file systems are mounted for containers whose root is a user
// that may not pass through the directories above their bundles. To open those
// directories would show them to every user of the host, and not all are ours.
//
// It is a file system of the shim's own, in its own mount namespace, on a directory
// that the kernel makes to be mounted on. Every host has one, all users may pass
// through what is above it, and a container is not likely to want what it hides. With
// a mount on any other directory of sysfs or procfs, the kernel would refuse both to
// user namespaces.
type lobby struct {
	mu   sync.Mutex
	path string // "": not mounted yet
	last int
}

// lobbies are such directories, the least missed first.
var lobbies = []string{
	"/sys/fs/pstore", "/sys/fs/fuse/connections", "/sys/kernel/config", "/proc/sys/fs/binfmt_misc",
	"/sys/kernel/security", "/sys/kernel/tracing", "/sys/kernel/debug", "/sys/fs/bpf",
}

// place makes a directory in the lobby.
func (l *lobby) place() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path == "" {
		path, err := open(lobbies)
		if err != nil {
			return "", err
		}
		l.path = path
	}
	l.last++
	dir := filepath.Join(l.path, fmt.Sprint(l.last))
	return dir, os.Mkdir(dir, 0o711)
}

// open mounts the lobby.
func open(candidates []string) (string, error) {
	err := error(unix.ENOENT)
	for _, path := range candidates {
		err = unix.Mount("lobby", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711")
		if err == nil || !errors.Is(err, unix.ENOENT) {
			return path, err
		}
	}
	return "", err
}

// settleRoot finds a place for a container's root file system.
func (s *Service) settleRoot(c *container) error {
	uid, gid := bundle.Root(c.bundle.Spec)
	if uid == 0 && gid == 0 || bundle.Admits(c.bundle.Dir, uid, gid) {
		return nil
	}
	dir, err := s.lobby.place()
	if err != nil {
		return fmt.Errorf("place for a root file system that user %d may look up: %w (%w)", uid, err, errdefs.ErrUnavailable)
	}
	c.bundle.Rootfs, c.placed = dir, true
	return bundle.Move(c.bundle.Dir, dir)
}

// leave gives a place back that nothing is mounted on.
func leave(place string) error {
	if err := os.Remove(place); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
