package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/mountinfo"
)

// SweepMounts undoes the mounts that a killed program has left of the engine
// in root: containerd mounts what it compares for a moment, in the system's
// temporary directory, and so does BuildKit with what it copies.
func SweepMounts(root string) error {
	all, err := mountinfo.Read()
	if err != nil {
		return err
	}
	var errs []error
	for _, at := range leftMounts(all, root) {
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
			continue
		}
		_ = os.Remove(at) // if it is empty
	}
	return errors.Join(errs...)
}

// leftMounts gives the mount points, the last mounted first.
func leftMounts(all []mountinfo.Mount, root string) []string {
	// root, as its own file system sees it.
	var home mountinfo.Mount
	for _, m := range all {
		if mountinfo.Below(root, m.At) && len(m.At) >= len(home.At) {
			home = m
		}
	}
	inner := filepath.Join(home.Root, strings.TrimPrefix(root, home.At))
	var left []string
	for _, m := range slices.Backward(all) {
		name := filepath.Base(m.At)
		temporary := strings.HasPrefix(name, "containerd-mount") || strings.HasPrefix(name, "buildkit")
		bound := m.Device == home.Device && mountinfo.Below(m.Root, inner)
		layered := m.Kind == "overlay" && strings.Contains(m.Options, "="+root+"/")
		if temporary && (bound || layered) {
			left = append(left, m.At)
		}
	}
	return left
}
