package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Dialer makes the connection that an incoming one is joined with.
type Dialer func(ctx context.Context) (net.Conn, error)

// A Server joins each connection to an address with one of a dialer.
type Server struct {
	addr  net.Addr
	from  io.Closer // listens
	dial  Dialer
	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
	flows  map[string]net.Conn // of datagrams, by who sends them
}

const (
	patience  = 30 * time.Second // of a dialer
	idle      = time.Minute      // of a flow of datagrams
	mostFlows = 1024
)

func newServer(addr net.Addr, from io.Closer, dial Dialer) *Server {
	s := &Server{addr: addr, from: from, dial: dial, open: map[net.Conn]struct{}{}, flows: map[string]net.Conn{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Serve joins the connections that l accepts. A dialer that fails resets them.
func Serve(l net.Listener, dial Dialer) *Server {
	s := newServer(l.Addr(), l, dial)
	s.tasks.Go(func() {
		for {
			in, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				select {
				case <-s.life.Done():
					return
				case <-time.After(10 * time.Millisecond): // for want of descriptors, as a rule
					continue
				}
			}
			s.tasks.Go(func() { s.join(in) })
		}
	})
	return s
}

// ServeDatagrams joins the flows of datagrams that come to p, each with a
// connection of its own.
func ServeDatagrams(p net.PacketConn, dial Dialer) *Server {
	s := newServer(p.LocalAddr(), p, dial)
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
			if out := s.flow(p, from); out != nil {
				_, _ = out.Write(buf[:n]) // a datagram may be lost
			}
		}
	})
	return s
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends it, and what goes through it. It returns when nothing of it runs.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		Reset(c)
	}
	s.mu.Unlock()
	s.end()
	err := s.from.Close()
	s.tasks.Wait()
	return err
}

// keep has connections end with the server. It is false when that has ended.
func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *Server) drop(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *Server) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.life, patience)
	defer cancel()
	return s.dial(ctx)
}

func (s *Server) join(in net.Conn) {
	if !s.keep(in) {
		return
	}
	defer s.drop(in)
	out, err := s.connect()
	if err != nil {
		Reset(in)
		return
	}
	if !s.keep(out) {
		return
	}
	defer s.drop(out)
	Join(in, out)
}

// flow gives the connection of a sender, and makes it with the first datagram.
func (s *Server) flow(p net.PacketConn, from net.Addr) net.Conn {
	key := from.String()
	s.mu.Lock()
	out, full := s.flows[key], len(s.flows) >= mostFlows
	s.mu.Unlock()
	if out != nil || full {
		return out
	}
	out, err := s.connect()
	if err != nil || !s.keep(out) {
		return nil
	}
	s.mu.Lock()
	s.flows[key] = out
	s.mu.Unlock()
	s.tasks.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.flows, key)
			s.mu.Unlock()
			s.drop(out)
		}()
		buf := chunks.Get().(*[chunk]byte)
		defer chunks.Put(buf)
		for {
			_ = out.SetReadDeadline(time.Now().Add(idle))
			n, err := out.Read(buf[:])
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:n], from)
		}
	})
	return out
}
