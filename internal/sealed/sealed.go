// Package sealed keeps programs in memory, where no process can write to them: what a
// container reaches through a process's /proc/PID/exe is such a copy, and no file of
// the host's.
package sealed

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Seals that golang.org/x/sys does not have, and the descriptors below which a
// started process's own are.
const (
	sealExec = 0x20 // F_SEAL_EXEC, since Linux 6.3
	seals    = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	above    = 64
)

// Program makes a sealed copy of an executable file. It is executed by its
// descriptor: /proc/self/fd/N, which a process that is started with other files
// still has by the time it looks.
func Program(name string, from io.Reader) (_ *os.File, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(fd)
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	to := os.NewFile(uintptr(high), "memfd:"+name)
	defer func() {
		if err != nil {
			to.Close()
		}
	}()
	if _, err := io.Copy(to, from); err != nil {
		return nil, err
	}
	if err := to.Chmod(0o511); err != nil {
		return nil, err
	}
	_, _ = unix.FcntlInt(uintptr(high), unix.F_ADD_SEALS, sealExec)
	if _, err := unix.FcntlInt(uintptr(high), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return to, nil
}
