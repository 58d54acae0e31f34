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
	toA, toB := newEnd(a), newEnd(b)
	var other sync.WaitGroup
	other.Go(func() { pass(toA, toB) })
	pass(toB, toA)
	other.Wait()
}

// Counted is a connection that passes bytes on as they are and counts them. Join uses
// what it wraps, and tells it what it would have counted.
type Counted interface {
	net.Conn
	NetConn() net.Conn          // what it wraps
	Count(received, sent int64) // of bytes that have gone past it
}

// end is one end of a joint.
type end struct {
	net.Conn
	counted []Counted   // what wraps it
	over    atomic.Bool // nothing more is sent to it
}

func newEnd(c net.Conn) *end {
	e := &end{Conn: c}
	for {
		w, ok := e.Conn.(Counted)
		if !ok {
			local(e.Conn)
			return e
		}
		e.Conn, e.counted = w.NetConn(), append(e.counted, w)
	}
}

// moved counts what went from one end to another.
func moved(to, from *end, n int) {
	for _, c := range from.counted {
		c.Count(int64(n), 0)
	}
	for _, c := range to.counted {
		c.Count(0, int64(n))
	}
}

// pass copies one direction.
func pass(to, from *end) {
	err := copyAll(to, from)
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
