package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// openDetached opens a root by a mount that is attached nowhere, which the
// kernel makes since Linux 5.2, of more than a few layers since 6.8. It needs
// no thread that ends, which could take children of the program along (prctl(2),
// PR_SET_PDEATHSIG).
func openDetached(mounts []mount.Mount, writable bool) (*os.File, error) {
	if len(mounts) != 1 {
		return nil, errors.ErrUnsupported
	}
	m := mounts[0]
	if m.Type == "bind" {
		return openDir(m.Source)
	}
	if m.Type != "overlay" {
		return nil, errors.ErrUnsupported
	}
	l := layersOf(m, writable)
	if l.upper == "" && len(l.lower) == 1 {
		return openDir(l.lower[0])
	}
	return l.detached()
}

// detached makes a mount of layers that is attached nowhere.
func (l layers) detached() (*os.File, error) {
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fsfd)
	// By descriptors, since a value may have no more than 255 bytes.
	names, release, err := byDescriptor(l.lower...)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := setLowers(fsfd, names); err != nil {
		return nil, err
	}
	options := l.options
	attributes := unix.MOUNT_ATTR_NODEV
	if l.upper == "" {
		attributes |= unix.MOUNT_ATTR_RDONLY
	} else {
		names, release, err := byDescriptor(l.upper, l.work)
		if err != nil {
			return nil, err
		}
		defer release()
		options = append(options, "upperdir="+names[0], "workdir="+names[1])
		attributes |= unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	}
	for _, o := range options {
		name, value, ok := strings.Cut(o, "=")
		if ok {
			err = unix.FsconfigSetString(fsfd, name, value)
		} else {
			err = unix.FsconfigSetFlag(fsfd, name)
		}
		if err != nil {
			return nil, os.NewSyscallError("fsconfig "+o, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return nil, os.NewSyscallError("fsconfig create", err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), "rootfs"), nil
}

func setLowers(fsfd int, names []string) error {
	if all := strings.Join(names, ":"); len(all) <= 255 {
		return os.NewSyscallError("fsconfig lowerdir", unix.FsconfigSetString(fsfd, "lowerdir", all))
	}
	for _, n := range names {
		if err := unix.FsconfigSetString(fsfd, "lowerdir+", n); err != nil {
			return os.NewSyscallError("fsconfig lowerdir+", err)
		}
	}
	return nil
}

// byDescriptor opens directories and gives names for them that are short, and
// good until release.
func byDescriptor(dirs ...string) (names []string, release func(), err error) {
	var open []*os.File
	release = func() {
		for _, f := range open {
			f.Close()
		}
	}
	for _, d := range dirs {
		f, err := openDir(d)
		if err != nil {
			release()
			return nil, nil, err
		}
		open = append(open, f)
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	return names, release, nil
}

func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
