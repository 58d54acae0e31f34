package netlink

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Socket is a netlink socket. It belongs to the namespace of the thread that
// opened it, for as long as it lives. One call at a time may use it.
type Socket struct {
	fd  int
	seq uint32 // of the last request
}

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
	return &Socket{fd: fd}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Outlive has the socket be closed after all other descriptors of the program, when the
// program is killed. Nothing can be sent by it any more. It is on its way through a
// socket to nobody from then on: what a socket carries the kernel closes next, when it
// has closed that socket and all the others.
func (s *Socket) Outlive() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(s.fd), nil, 0); err != nil {
		unix.Close(pair[1])
		return os.NewSyscallError("sendmsg", err)
	}
	unix.Close(s.fd)
	s.fd = pair[1]
	return nil
}

// Do sends a batch and waits until all of it is done. It gives the first error; what
// came before that in the batch is done, unless the batch is a transaction.
func (s *Socket) Do(b *Batch) error {
	b.hush()
	first, err := s.send(b)
	if err != nil || len(b.requests) == 0 {
		return err
	}
	last := b.requests[len(b.requests)-1].number
	return s.receive(first, func(m message) (done bool, err error) {
		if m.typ != unix.NLMSG_ERROR {
			return false, nil
		}
		number := int(m.seq - first)
		return number == last, m.failure(b.named(number))
	})
}

// ask sends one question, and gives each message of the answer to take.
func (s *Socket) ask(b *Batch, take func(message) error) error {
	first, err := s.send(b)
	if err != nil {
		return err
	}
	return s.receive(first, func(m message) (bool, error) { return true, take(m) })
}

// send numbers the messages of a batch, on from those of the last one, and gives
// the number of the first.
func (s *Socket) send(b *Batch) (first uint32, err error) {
	first = s.seq + 1
	for rest := b.Bytes(); len(rest) >= unix.NLMSG_HDRLEN; rest = rest[native.Uint32(rest):] {
		s.seq++
		native.PutUint32(rest[8:], s.seq)
	}
	return first, os.NewSyscallError("sendto", unix.Sendto(s.fd, b.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// buffers are for what the kernel sends at a time.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// receive gives the answers to messages from the number first on to take, until one
// has an error or take says that it is done. Older ones are of a batch that failed.
func (s *Socket) receive(first uint32, take func(message) (done bool, err error)) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for done := false; !done; {
		n, from, err := unix.Recvfrom(s.fd, buf[:], 0)
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
			if int32(m.seq-first) < 0 {
				continue
			}
			now, err := take(m)
			if err != nil {
				return err
			}
			done = done || now
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
