package libcontainer

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateDir opens the directory that libcontainer keeps its state in. Without a
// name that is a tmpfs which is mounted nowhere: nobody else can reach it,
// writing to it is cheaper, and it goes with this process however that ends.
// f keeps it; it is nil if nothing has to be kept.
func stateDir(name string) (path string, f *os.File, err error) {
	if name == "" {
		if f, err = hiddenTmpfs(); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), f, nil
	}
	if path, err = filepath.Abs(name); err != nil {
		return "", nil, err
	}
	return path, nil, os.MkdirAll(path, 0o700)
}

func hiddenTmpfs() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "mode", "0700"); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), "state"), nil
}
