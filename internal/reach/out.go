package reach

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/porter"
	"github.com/ctorhq/ctor/internal/wayout"
)

// Resolver is the name server of a container with a way out.
var Resolver = wayout.Resolver

// Out implements Doors. The process can't have ended, and its number be
// another's: its runtime still holds it.
func (h *here) Out(pid int, dial wayout.Dialer, forwards wayout.Forwards) (io.Closer, error) {
	process, err := hold(pid)
	if err != nil {
		return nil, err
	}
	w, err := wayout.Open(process, dial, forwards)
	if err != nil {
		process.Close()
		return nil, err
	}
	return &out{w, process}, nil
}

type out struct {
	*wayout.Way
	process *os.File
}

func (o *out) Close() error {
	defer o.process.Close()
	return o.Way.Close()
}

// Porter implements Doors.
func (h *here) Porter(pid int, container string, policy []byte, dir string) error {
	process, err := hold(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	return porter.Start(h.life, process, container, policy, dir)
}

// hold gives a descriptor of a process.
func hold(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}
