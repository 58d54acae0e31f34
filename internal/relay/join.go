// Package relay passes bytes on between connections, so that the ends of each
// see what they would see if there was nothing between them: an end of one
// direction, or that the connection was broken off.
//
// What one end does not read costs this program nothing: it stays in the
// kernel's buffers, whose size is bounded, until the end takes it.
package relay

import (
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Join copies both ways until both have ended. The end of one direction goes on
// as an end, and what breaks one off breaks both.
func Join(a, b net.Conn) {
	local(a)
	local(b)
	var other sync.WaitGroup
	toA, toB := &end{Conn: a}, &end{Conn: b}
	other.Go(func() { pass(toA, toB) })
	pass(toB, toA)
	other.Wait()
}

// end is one end of a joint.
type end struct {
	net.Conn
	over atomic.Bool // nothing more is sent to it
}

// pass copies one direction.
func pass(to, from *end) {
	err := copyAll(to.Conn, from.Conn)
	if err == nil && from.broken() {
		err = unix.ECONNRESET
	}
	if err == nil {
		to.over.Store(true)
		if h, ok := to.Conn.(interface{ CloseWrite() error }); ok {
			err = h.CloseWrite()
		} else {
			// It has only one end for both directions.
			to.Close()
		}
	}
	if err != nil {
		Reset(to.Conn)
		Reset(from.Conn)
	}
}

// broken tells of an end at which nothing more comes whether it was broken off.
// The kernel says so once, and may have said it to the other direction.
func (e *end) broken() bool {
	t, ok := e.Conn.(*net.TCPConn)
	if !ok || e.over.Load() {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return true
	}
	const closed = 7 // TCP_CLOSE of linux/tcp_states.h: an end of one direction leaves CLOSE_WAIT
	var info *unix.TCPInfo
	cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
	return cerr != nil || err != nil || info.State == closed // closed here: the other direction was broken off
}

// Reset closes a connection so that the other end sees that it was broken off.
func Reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
