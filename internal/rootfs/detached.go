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
// kernel makes since Linux 5.2, of more than a few layers since 6.8. No thread
// is needed for it that ends: a thread takes along the children it has
// started, if the program asked for that (prctl(2), PR_SET_PDEATHSIG).
func openDetached(mounts []mount.Mount) (_ *os.File, err error) {
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
	dirs, options := lowers(m)
	if len(dirs) == 1 {
		return openDir(dirs[0])
	}
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fsfd)
	// By descriptors, since a value may have no more than 255 bytes.
	var names []string
	for _, d := range dirs {
		f, err := openDir(d)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	if err := setLowers(fsfd, names); err != nil {
		return nil, err
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
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV)
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

func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// lowers gives an overlay mount's lower directories, and those of its options
// that matter without an upper one. The upper one is still empty, and must not
// be in two mounts at once.
func lowers(m mount.Mount) (dirs, options []string) {
	for _, o := range m.Options {
		switch name, value, _ := strings.Cut(o, "="); name {
		case "lowerdir":
			dirs = strings.Split(value, ":")
		case "upperdir", "workdir", "volatile", "rw", "ro":
		default:
			options = append(options, o)
		}
	}
	return dirs, options
}
