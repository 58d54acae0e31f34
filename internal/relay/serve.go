package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
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

	waiting atomic.Int64 // bytes of datagrams, for a dialer

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
	flows  map[string]*sender // of datagrams, by who sends them
}

func newServer(addr net.Addr, from io.Closer, dial Dialer) *Server {
	s := &Server{addr: addr, from: from, dial: dial, open: map[net.Conn]struct{}{}, flows: map[string]*sender{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Serve joins the connections that l accepts, up to [Connections] at a time;
// one more is reset, and so is one for which the dialer fails.
func Serve(l net.Listener, dial Dialer) *Server {
	s := newServer(l.Addr(), l, dial)
	places := make(chan struct{}, Connections())
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
			select {
			case places <- struct{}{}:
				s.tasks.Go(func() {
					defer func() { <-places }()
					s.join(in)
				})
			default:
				Reset(in)
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
