package egress

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/time/rate"
)

// Bounds are what [Limit] allows. A zero field is no bound.
type Bounds struct {
	// Connections is how many may be open at a time. One more is refused with
	// [ErrRefused].
	Connections int

	// BytesPerSecond is what all connections together carry in a second, in
	// each direction. What is more waits. A tenth of a second's bytes, but at
	// least 64 KiB, may come at once, so that no datagram is cut.
	BytesPerSecond int64
}

// Limit bounds what goes through d: all of it together, however many containers
// use the result.
func Limit(d Dialer, b Bounds) Dialer {
	l := &limit{next: d, out: b.limiter(), in: b.limiter()}
	if b.Connections > 0 {
		l.places = make(chan struct{}, b.Connections)
	}
	return l.dial
}

type limit struct {
	next    Dialer
	places  chan struct{} // one is taken for each connection; nil: no bound
	out, in *rate.Limiter
}

func (l *limit) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, nil, l.next); q != nil {
		q.forwards = q.below[0].forwards
		return nil, errAsked
	}
	leave := func() {}
	if l.places != nil {
		select {
		case l.places <- struct{}{}:
			leave = sync.OnceFunc(func() { <-l.places })
		default:
			return nil, refused(network, address, fmt.Sprintf("%d connections are open already", cap(l.places)))
		}
	}
	c, err := l.next(ctx, network, address)
	if err != nil {
		leave()
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &limited{Conn: c, life: life, end: end, leave: leave, out: l.out, in: l.in}, nil
}

// limiter is nil where there is no bound.
func (b Bounds) limiter() *rate.Limiter {
	if b.BytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(b.BytesPerSecond), int(max(b.BytesPerSecond/10, 64<<10)))
}

// limited is a connection whose bytes wait for their turn.
type limited struct {
	net.Conn
	life    context.Context // ends a wait
	end     context.CancelFunc
	leave   func()
	out, in *rate.Limiter
}

func (c *limited) Read(p []byte) (int, error) {
	if c.in != nil {
		p = p[:min(len(p), c.in.Burst())]
	}
	n, err := c.Conn.Read(p)
	if c.in != nil && n > 0 && c.in.WaitN(c.life, n) != nil && err == nil {
		err = net.ErrClosed
	}
	return n, err
}

func (c *limited) Write(p []byte) (n int, err error) {
	if c.out == nil {
		return c.Conn.Write(p)
	}
	for n < len(p) {
		part := p[n:min(len(p), n+c.out.Burst())]
		if c.out.WaitN(c.life, len(part)) != nil {
			return n, net.ErrClosed
		}
		m, err := c.Conn.Write(part)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// NetConn gives the connection that it wraps.
func (c *limited) NetConn() net.Conn { return c.Conn }

// CloseWrite passes on the end of what the container sends.
func (c *limited) CloseWrite() error { return closeWrite(c.Conn) }

func (c *limited) Close() error {
	c.end()
	err := c.Conn.Close()
	c.leave()
	return err
}
