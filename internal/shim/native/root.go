package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// maxValue is how long a value may be that the kernel takes for an option of a file
// system (fsconfig(2)).
const maxValue = 255

// openRoot opens the root file system as a mount that is attached nowhere: nothing
// is there for the host to see, or to unmount.
func (e *Executor) openRoot(b task.Bundle, u *users) (fd int, err error) {
	if len(b.Mounts) == 1 && b.Mounts[0].Type == "overlay" {
		fd, err = e.openSettled(b.Mounts[0], u)
		if !errors.Is(err, errors.ErrUnsupported) {
			return fd, err
		}
	}
	path := b.Rootfs
	if len(b.Mounts) == 0 && b.Spec.Root != nil && b.Spec.Root.Path != "" {
		if path = b.Spec.Root.Path; !filepath.IsAbs(path) {
			path = filepath.Join(b.Dir, path)
		}
	}
	if err := b.Mount(); err != nil {
		return -1, err
	}
	fd, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, &os.PathError{Op: "open root file system", Path: path, Err: err}
	}
	return fd, nil
}

// openSettled is openOverlay for layers whose last mount may be about to go.
func (e *Executor) openSettled(m mount.Mount, u *users) (int, error) {
	fd, err := openOverlay(m, u)
	if errors.Is(err, unix.EBUSY) {
		e.late.Wait()
		fd, err = openOverlay(m, u)
	}
	return fd, err
}

// openOverlay makes an overlay. errors.ErrUnsupported is that mount(2) can, and this
// can't: a value is too long, or has characters that only mean themselves there when
// they are escaped.
func openOverlay(m mount.Mount, u *users) (int, error) {
	var options []forker.Option
	var layers []int
	defer func() {
		for _, fd := range layers {
			unix.Close(fd)
		}
	}()
	attributes := 0
	for _, o := range m.Options {
		name, v, _ := strings.Cut(o, "=")
		switch {
		case o == "ro":
			attributes |= unix.MOUNT_ATTR_RDONLY
			options = append(options, forker.Option{Name: o})
		case o == "rw":
		case strings.Contains(v, `\`):
			return -1, errors.ErrUnsupported
		case name == "uidmap", name == "gidmap":
			if u == nil {
				return -1, errors.ErrUnsupported
			}
		case name == "lowerdir" && u != nil:
			for dir := range strings.SplitSeq(v, ":") {
				fd, err := u.layer(dir)
				if err != nil {
					return -1, err
				}
				layers = append(layers, fd)
			}
		case name == "lowerdir" && len(v) > maxValue:
			for dir := range strings.SplitSeq(v, ":") {
				options = append(options, forker.Option{Name: "lowerdir+", Value: dir})
			}
		default:
			options = append(options, forker.Option{Name: name, Value: v})
		}
	}
	return makeFileSystem("overlay", m.Source, options, layers, attributes)
}

// makeFileSystem makes one that is attached nowhere. layers are an overlay's that
// have no path: Linux before 6.15 does not take them.
func makeFileSystem(kind, source string, options []forker.Option, layers []int, attributes int) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen "+kind, err)
	}
	defer unix.Close(fs)
	if source != "" {
		options = append([]forker.Option{{Name: "source", Value: source}}, options...)
	}
	for _, layer := range layers {
		if err := unix.FsconfigSetFd(fs, "lowerdir+", layer); err != nil {
			return -1, fmt.Errorf("%w: %w", os.NewSyscallError("mount "+kind+": a layer", err), errors.ErrUnsupported)
		}
	}
	for _, o := range options {
		if len(o.Value) > maxValue {
			return -1, errors.ErrUnsupported
		}
		if o.Value == "" {
			err = unix.FsconfigSetFlag(fs, o.Name)
		} else {
			err = unix.FsconfigSetString(fs, o.Name, o.Value)
		}
		if err == unix.EINVAL && o.Name == "lowerdir+" { // Linux before 6.8
			return -1, errors.ErrUnsupported
		}
		if err != nil {
			return -1, os.NewSyscallError("mount "+kind+": option "+o.Name, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("mount "+kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	return fd, os.NewSyscallError("fsmount", err)
}
