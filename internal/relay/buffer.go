package relay

import (
	"sync"
	"sync/atomic"
)

// The sizes of buffers: of one for a connection that waits, and of one for as
// much as goes at once.
const (
	small = 4 << 10
	large = 64 << 10
)

// mostLarge is how many large buffers the connections may have that need them
// while they wait for the other end: 8 MiB.
const mostLarge = 128

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
