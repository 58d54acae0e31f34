package relay

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// ServeDatagrams joins the flows of datagrams that come to p, each with a
// connection of its own, up to [Flows] at a time; what one more sends is lost.
func ServeDatagrams(p net.PacketConn, dial Dialer) *Server {
	s := newServer(p.LocalAddr(), p, dial)
	most := Flows()
	s.tasks.Go(func() {
		buf := make([]byte, Largest)
		for {
			n, from, err := p.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if f := s.sender(p, from, most); f != nil {
				f.send(buf[:n])
			}
		}
	})
	return s
}

// sender gives the flow of a sender, and begins it with the first datagram.
func (s *Server) sender(p net.PacketConn, from net.Addr, most int) *sender {
	key := from.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[key]
	if f == nil && len(s.flows) < most && !s.closed {
		f = &sender{exchange: exchange{idle: idle}, all: &s.waiting}
		s.flows[key] = f
		s.tasks.Go(func() {
			s.exchange(f, p, from)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.flows, key)
		})
	}
	return f
}

// exchange passes the datagrams of a flow both ways.
func (s *Server) exchange(f *sender, p net.PacketConn, from net.Addr) {
	out, err := s.connect()
	if err != nil || !s.keep(out) {
		f.open(nil)
		return
	}
	defer s.drop(out)
	f.open(out)
	f.receive(out, func(b []byte) { _, _ = p.WriteTo(b, from) })
}

// sender is a flow whose datagrams come by a socket that others use too: none
// may wait for the dialer of another.
type sender struct {
	exchange
	mu      sync.Mutex
	dialled bool
	out     net.Conn // nil: the dialer has failed
	waiting [][]byte // before
	all     *atomic.Int64
}

// mostWaiting is how many bytes of all flows together wait for their dialers.
// More is lost.
const mostWaiting = 1 << 20

// cost is what a datagram that waits takes, at least.
func cost(b []byte) int64 { return 64 + int64(len(b)) }

func (f *sender) send(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touch()
	switch {
	case f.out != nil:
		_, _ = f.out.Write(b) // a datagram may be lost
	case f.dialled:
	case f.all.Add(cost(b)) <= mostWaiting:
		f.waiting = append(f.waiting, slices.Clone(b))
	default:
		f.all.Add(-cost(b))
	}
}

// open sends what has waited, by the connection that was dialled. nil is none.
func (f *sender) open(out net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dialled, f.out = true, out
	for _, b := range f.waiting {
		if out != nil {
			_, _ = out.Write(b)
		}
		f.all.Add(-cost(b))
	}
	f.waiting = nil
}
