package netlink

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Socket is a netlink socket. It belongs to the namespace of the thread that
// opened it, for as long as it lives.
type Socket struct{ fd int }

// Open opens a socket of a family, such as unix.NETLINK_ROUTE, in the namespace
// of the calling thread.
func Open(family int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Answers without a copy of the request, and with words. A kernel that has
	// neither answers all the same.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &Socket{fd}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Do sends a batch and waits for all answers. It gives the first error; what
// came before that in the batch is done, unless the batch is a transaction.
func (s *Socket) Do(b *Batch) error {
	if err := unix.Sendto(s.fd, b.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 32<<10)
	for left := b.names; len(left) > 0; {
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not of the kernel
		}
		for m := range messages(buf[:n]) {
			if m.typ != unix.NLMSG_ERROR || len(left) == 0 {
				continue
			}
			if err := m.failure(left[0]); err != nil {
				return err
			}
			left = left[1:]
		}
	}
	return nil
}

// Do opens a socket for one batch.
func Do(family int, b *Batch) error {
	s, err := Open(family)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Do(b)
}
