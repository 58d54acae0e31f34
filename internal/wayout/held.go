package wayout

import (
	"net"
	"sync"
	"time"
)

// held are the connections whose first packet waits for the dialer's answer, and
// those that were dialled and that the container has not opened yet. Who sends
// first packets and opens nothing keeps no more of the program than their places.
type held struct {
	mu     sync.Mutex
	closed bool
	flows  map[flow]*half
}

// half is what there is of a connection before the container has its own half.
type half struct {
	out    net.Conn // nil: it is being dialled
	expiry *time.Timer
}

type place int

const (
	begun   place = iota // it is the caller's to dial
	dialing              // it is the same packet again
	dialled              // likewise, and there is an answer
	full
)

// begin takes a place for a flow.
func (h *held) begin(f flow) place {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch known := h.flows[f]; {
	case known != nil && known.out == nil:
		return dialing
	case known != nil:
		return dialled
	case len(h.flows) >= mostHeld || h.closed:
		return full
	}
	h.flows[f] = &half{}
	return begun
}

// offer keeps the connection of a flow that has a place until the container
// opens its half. It is closed if that does not come soon.
func (h *held) offer(f flow, out net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.flows[f]
	if known == nil { // closed
		out.Close()
		return
	}
	known.out = out
	known.expiry = time.AfterFunc(opening, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.flows[f] == known {
			delete(h.flows, f)
			out.Close()
		}
	})
}

// take gives the connection of a flow, if it was dialled, and frees the place.
// Without a place it is nil.
func (h *held) take(f flow) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.flows[f]
	if known == nil {
		return nil
	}
	delete(h.flows, f)
	if known.expiry != nil {
		known.expiry.Stop()
	}
	return known.out
}

// close closes what was dialled. Nothing has a place any more.
func (h *held) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, known := range h.flows {
		if known.out != nil {
			known.expiry.Stop()
			known.out.Close()
		}
	}
	clear(h.flows)
}
