package reach

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/porter"
	"github.com/ctorhq/ctor/internal/wayout"
)

// Resolver is the name server of a container with a way out.
var Resolver = wayout.Resolver

// Neighbours are the other containers of a container's networks.
type Neighbours = wayout.Neighbours

// Hold implements Doors.
func (h *here) Hold(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Out implements Doors.
func (h *here) Out(process *os.File, dial wayout.Dialer, forwards wayout.Forwards, neighbours Neighbours) (Way, error) {
	w, err := wayout.Open(process, dial, forwards, neighbours)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Names implements Doors.
func (h *here) Names(process *os.File, neighbours Neighbours) (Way, error) {
	w, err := wayout.Names(process, neighbours)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Porter implements Doors.
func (h *here) Porter(process *os.File, container string, policy []byte, dir string) error {
	return porter.Start(h.life, process, container, policy, dir)
}
