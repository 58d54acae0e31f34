package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// The layer of mount points lies below those of an image, for containers that end
// with this program. Without it, a container whose image lacks some of them has them
// made in its own writable layer and removed with that, which on a disk is most of
// what a short life costs. What an image has in such a place hides this layer's. A
// container without a network finds an empty resolv.conf, which means what none does.
var (
	pointDirs  = []string{"dev", "etc", "proc", "sys"}
	pointFiles = []string{"etc/hostname", "etc/hosts", "etc/resolv.conf"}
)

// maxPointLayers is how many layers an image may have for that one more still fits
// into the page of options that mount(2) takes, which some executors use.
const maxPointLayers = 32

// OverPoints puts the layer of mount points below an overlay. Other mounts stay as
// they are, and so do those for users of another namespace, who do not own it.
func (e *Engine) OverPoints(mounts []mount.Mount) []mount.Mount {
	if !e.Backend.Sole() || len(mounts) != 1 || mounts[0].Type != "overlay" {
		return mounts
	}
	if slices.ContainsFunc(mounts[0].Options, func(o string) bool { return strings.HasPrefix(o, "uidmap=") }) {
		return mounts
	}
	if lower := rootfs.Directories(mounts); len(lower) == 0 || len(lower) > maxPointLayers {
		return mounts
	}
	dir, err := e.points()
	if err != nil {
		return mounts // the runtime makes what is missing
	}
	return []mount.Mount{rootfs.Under(mounts[0], dir)}
}

// makePoints makes the layer, or what of it an earlier program has not. All users of
// a container may look at it, whatever this program's umask is.
func (e *Engine) makePoints() (string, error) {
	dir := filepath.Join(e.Root, "points")
	for _, name := range append([]string{""}, pointDirs...) {
		d := filepath.Join(dir, name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(d, 0o755); err != nil {
			return "", err
		}
	}
	for _, name := range pointFiles {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return "", err
		}
		err = f.Chmod(0o644)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}
