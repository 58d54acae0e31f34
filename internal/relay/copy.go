package relay

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyAll copies until from's end, which is nil.
func copyAll(to, from *end) error {
	in, out := socket(from.Conn), socket(to.Conn)
	if in == nil || out == nil {
		return copyThrough(to, from)
	}
	_, tcp := from.Conn.(*net.TCPConn)
	d := &direction{in: in, out: out, tcp: tcp, moved: func(n int) { moved(to, from, n) }}
	return d.run()
}

// socket gives the descriptor of a connection that is nothing but its socket. A
// type that has package net's inside may read and write otherwise: it is nil.
func socket(c net.Conn) syscall.RawConn {
	var s syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		s = c
	case *net.UnixConn:
		if c.LocalAddr().Network() != "unix" { // messages, which have borders
			return nil
		}
		s = c
	default:
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// direction is one between two sockets. It looks at what has come, writes it
// without waiting, and only then takes it: so a buffer is in use for no longer
// than that, however many connections wait.
type direction struct {
	in, out syscall.RawConn
	tcp     bool // in
	moved   func(n int)

	put     func(uintptr) bool // write, made once
	held    []byte             // what is looked at
	n, sent int                // bytes looked at, and taken
	err     error
}

func (d *direction) run() error {
	d.put = d.write
	move := d.move
	for {
		d.n, d.sent, d.err = 0, 0, nil
		if err := d.in.Read(move); err != nil {
			return err
		}
		if d.err != nil || d.n == 0 {
			return d.err
		}
		d.moved(d.sent)
		if d.sent < d.n {
			if err := d.out.Write(writable); err != nil {
				return err
			}
		}
	}
}

// move is called when there may be something to read. It is false where there
// is not.
func (d *direction) move(fd uintptr) bool {
	chunk := chunks.Get().(*[large]byte)
	defer chunks.Put(chunk)
	if d.n, d.err = again(func() (int, error) {
		n, _, err := unix.Recvfrom(int(fd), chunk[:], unix.MSG_PEEK)
		return n, err
	}); errors.Is(d.err, unix.EAGAIN) {
		return false
	}
	if d.err != nil || d.n <= 0 {
		d.n = 0
		return true
	}
	d.held = chunk[:d.n]
	if err := d.out.Write(d.put); err != nil {
		d.err = err
	}
	d.held = nil
	if d.err == nil && d.sent > 0 {
		d.err = d.take(int(fd), chunk[:d.sent])
	}
	return true
}

// write writes what goes without waiting.
func (d *direction) write(fd uintptr) bool {
	d.sent, d.err = again(func() (int, error) { return unix.Write(int(fd), d.held) })
	if errors.Is(d.err, unix.EAGAIN) {
		d.sent, d.err = 0, nil
	}
	return true
}

// take takes what was looked at, which is in b. Of a TCP socket it need not be
// copied once more.
func (d *direction) take(fd int, b []byte) error {
	flags := 0
	if d.tcp {
		flags = unix.MSG_TRUNC
	}
	for len(b) > 0 {
		n, err := again(func() (int, error) {
			n, _, err := unix.Recvfrom(fd, b, flags)
			return n, err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF // it was reset meanwhile
		}
		b = b[n:]
	}
	return nil
}

// writable tells whether a write would not wait. It asks, since the poller tells
// of a change alone.
func writable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := again(func() (int, error) { return unix.Poll(fds, 0) })
	return err != nil || n > 0
}

// again calls f until no signal interrupts it.
func again(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// copyThrough is for what is more than a socket, such as a connection inside
// TLS. It has a buffer while it waits, but a small one.
func copyThrough(to, from *end) error {
	want := small
	for {
		buf := borrow(want)
		n, err := from.Read(buf)
		if n > 0 {
			sent, werr := to.Write(buf[:n])
			if werr != nil {
				err = werr
			}
			moved(to, from, sent)
		}
		full := n == len(buf)
		giveBack(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		want = small
		if full {
			want = large
		}
	}
}
