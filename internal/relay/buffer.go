package relay

import (
	"net"
	"sync"
	"sync/atomic"
)

// The sizes of buffers: of one for a connection that waits, and of one for as
// much as goes at once.
const (
	small = 4 << 10
	large = 256 << 10
)

// mostLarge is how many large buffers the connections may have that need them
// while they wait for the other end: 8 MiB.
const mostLarge = 32

var (
	chunks = sync.Pool{New: func() any { return new([large]byte) }}
	slips  = sync.Pool{New: func() any { return new([small]byte) }}
	lent   atomic.Int64 // large ones
)

// borrow gives a buffer of a size, or a small one, where there are many large
// ones in use.
func borrow(size int) []byte {
	if size == large {
		if lent.Add(1) <= mostLarge {
			return chunks.Get().(*[large]byte)[:]
		}
		lent.Add(-1)
	}
	return slips.Get().(*[small]byte)[:]
}

// giveBack ends the use of what borrow gave.
func giveBack(b []byte) {
	if len(b) == small {
		slips.Put((*[small]byte)(b))
		return
	}
	chunks.Put((*[large]byte)(b))
	lent.Add(-1)
}

// Buffer is what the kernel holds of one direction of a connection that stays on
// this host. The kernel's own choice grows to megabytes, which have left the
// processor's cache by the time that they are read: with it the same bytes cost a
// third more of the processor.
const Buffer = 256 << 10

// local gives a connection whose other end is on this host buffers of that size. One
// that goes further needs what the kernel finds right for its length.
func local(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	here, isHere := t.LocalAddr().(*net.TCPAddr)
	there, isThere := t.RemoteAddr().(*net.TCPAddr)
	if !isHere || !isThere { // the other end was gone before it could be asked for
		return
	}
	if there.IP.IsLoopback() || there.IP.Equal(here.IP) {
		_ = t.SetReadBuffer(Buffer)
		_ = t.SetWriteBuffer(Buffer)
	}
}
