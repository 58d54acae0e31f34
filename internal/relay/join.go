// Package relay passes bytes on between connections, so that the ends of each
// see what they would see if there was nothing between them: an end of one
// direction, or that the connection was broken off.
package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Join copies both ways until both have ended. The end of one direction goes on
// as an end, and what breaks one off breaks both.
func Join(a, b net.Conn) {
	var other sync.WaitGroup
	other.Go(func() { pass(a, b) })
	pass(b, a)
	other.Wait()
}

// pass copies one direction.
func pass(to, from net.Conn) {
	err := copyLazily(to, from)
	if err == nil {
		if h, ok := to.(interface{ CloseWrite() error }); ok {
			err = h.CloseWrite()
		} else {
			// It has only one end for both directions.
			to.Close()
		}
	}
	if err != nil {
		Reset(to)
		Reset(from)
	}
}

// chunk is how much is copied at once.
const chunk = 64 << 10

// chunks are buffers that are not in use. A connection has one only while there
// is something to copy: thousands that wait cost no memory.
var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// copyLazily copies until the end, which is nil.
func copyLazily(to io.Writer, from net.Conn) error {
	raw, ok := from.(syscall.Conn)
	if !ok {
		return copyWith(to, from)
	}
	waiting, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	for {
		n, err := readLazily(to, waiting)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// readLazily waits until there is something, and only then takes a buffer.
func readLazily(to io.Writer, from syscall.RawConn) (n int, err error) {
	var held *[chunk]byte
	defer func() {
		if held != nil {
			chunks.Put(held)
		}
	}()
	rerr := from.Read(func(fd uintptr) bool {
		held = chunks.Get().(*[chunk]byte)
		for {
			if n, err = unix.Read(int(fd), held[:]); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if !errors.Is(err, unix.EAGAIN) {
			return true
		}
		chunks.Put(held)
		held = nil
		return false
	})
	if rerr != nil {
		return 0, rerr
	}
	if err != nil || n <= 0 {
		return 0, err
	}
	_, err = to.Write(held[:n])
	return n, err
}

// copyWith is for what is no descriptor, such as a connection inside TLS.
func copyWith(to io.Writer, from io.Reader) error {
	held := chunks.Get().(*[chunk]byte)
	defer chunks.Put(held)
	// Not io.CopyBuffer: a *net.TCPConn would take a buffer of its own.
	for {
		n, err := from.Read(held[:])
		if n > 0 {
			if _, werr := to.Write(held[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Reset closes a connection so that the other end sees that it was broken off.
func Reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
