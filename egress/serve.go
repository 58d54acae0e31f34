package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A server answers connections in this program, in the place of the host that a
// container asked for.
type server struct {
	http http.Server

	mu   sync.Mutex
	open map[string]int // connections, by container
}

// What one container can have a server hold: connections, and for each of them
// headers, requests at a time by HTTP/2, and bytes that a handler has not read.
const (
	mostAnswered = 1024
	mostHeader   = 64 << 10
	mostStreams  = 64
	mostUnread   = 256 << 10
)

func newServer(h http.Handler) *server {
	s := &server{open: map[string]int{}}
	s.http = http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute, // a container that says nothing does not hold a connection
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    mostHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: mostStreams, MaxReceiveBufferPerConnection: mostUnread, MaxReceiveBufferPerStream: mostUnread},
		ErrorLog:          log.New(io.Discard, "", 0), // what a container does wrong is no news of the program's
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: certificate,
			NextProtos:     []string{"h2", "http/1.1"}, // Serve sets HTTP/2 up once, maybe before ServeTLS would add it
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			if a, ok := c.(*answered); ok {
				return context.WithValue(ctx, connKey{}, a)
			}
			return ctx
		},
	}
	return s
}

type connKey struct{}

// answered is the server's end of a connection, which knows what was asked for.
type answered struct {
	net.Conn
	r       *bufio.Reader
	address string
	source  Source
	secure  bool // it speaks TLS
	leave   func()

	once sync.Once
	pool *http.Transport // makes its connections to the host

	mu     sync.Mutex
	closed bool
	theirs map[*owned]struct{} // those connections
}

func (c *answered) Read(p []byte) (int, error) { return c.r.Read(p) }

// host is the name or address that was asked for.
func (c *answered) host() string {
	host, _, err := net.SplitHostPort(c.address)
	if err != nil {
		return c.address
	}
	return host
}

// upstream gives the connections to the host that this one has for itself, so
// that each is its container's, and ends with it.
func (c *answered) upstream(d Dialer) *http.Transport {
	c.once.Do(func() {
		c.pool = &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				there, err := d(WithSource(ctx, c.source), network, c.address)
				if err != nil {
					return nil, err
				}
				return c.own(there)
			},
			TLSClientConfig:    &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.host()},
			ForceAttemptHTTP2:  true,
			DisableCompression: true,
			IdleConnTimeout:    time.Minute,
		}
	})
	return c.pool
}

// own has a connection to the host end with c.
func (c *answered) own(there net.Conn) (net.Conn, error) {
	o := &owned{there, c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		there.Close()
		return nil, net.ErrClosed
	}
	if c.theirs == nil {
		c.theirs = map[*owned]struct{}{}
	}
	c.theirs[o] = struct{}{}
	return o, nil
}

// owned is a connection to the host, made for one connection of a container.
type owned struct {
	net.Conn
	of *answered
}

func (o *owned) Close() error {
	o.of.mu.Lock()
	delete(o.of.theirs, o)
	o.of.mu.Unlock()
	return o.Conn.Close()
}

func (c *answered) Close() error {
	c.mu.Lock()
	theirs, closed := c.theirs, c.closed
	c.theirs, c.closed = nil, true
	c.mu.Unlock()
	if !closed {
		defer c.leave()
	}
	for o := range theirs {
		o.Conn.Close()
	}
	return c.Conn.Close()
}

// connOf gives the connection that a request came by.
func connOf(r *http.Request) *answered { return r.Context().Value(connKey{}).(*answered) }

// serve gives a connection whose other end s answers. It ends with that end. A
// container that has too many is refused.
func (s *server) serve(ctx context.Context, network, address string) (net.Conn, error) {
	source := SourceOf(ctx)
	if !s.enter(source.Container) {
		return nil, refused(network, address, fmt.Sprintf("the container has %d connections open that are answered here", mostAnswered))
	}
	here, there, err := pair()
	if err != nil {
		s.leave(source.Container)
		return nil, err
	}
	go s.answer(&answered{Conn: there, r: bufio.NewReader(there), address: address, source: source, leave: func() { s.leave(source.Container) }})
	return here, nil
}

func (s *server) enter(container string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[container] >= mostAnswered {
		return false
	}
	s.open[container]++
	return true
}

func (s *server) leave(container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[container]--; s.open[container] == 0 {
		delete(s.open, container)
	}
}

// answer looks whether the container speaks TLS, and hands the connection to
// the HTTP server, whose goroutine goes on when Serve has seen that there is not
// a second one.
func (s *server) answer(c *answered) {
	_ = c.SetReadDeadline(time.Now().Add(s.http.ReadHeaderTimeout))
	first, err := c.r.Peek(1)
	if err != nil {
		c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	const handshake = 22 // RFC 8446, section 5.1
	if c.secure = first[0] == handshake; c.secure {
		_ = s.http.ServeTLS(&single{c}, "", "")
	} else {
		_ = s.http.Serve(&single{c})
	}
}

// certificate is for the host that was asked for, whatever the ClientHello says:
// a client that asked for one host is given no certificate of another.
func certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := hello.Conn.(*answered)
	if c.source.CA == nil {
		return nil, errors.New("the container has no certificate authority of ours to trust")
	}
	return c.source.CA.leaf(c.host())
}

// single is a listener with one connection.
type single struct{ conn net.Conn }

func (l *single) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return &net.UnixAddr{Name: "egress", Net: "unix"} }
