package container

import (
	"context"
	"net"

	"github.com/ctorhq/ctor/internal/reach"
)

// Dial connects to an address from inside the container's network, as
// [net.Dialer.DialContext] does from the program's: also to a server that
// listens on the container's loopback only. No port is published for it, and
// no two containers' ports can clash. The networks are "tcp", "tcp4", "tcp6",
// "udp", "udp4", "udp6", "unix", "unixgram" and "unixpacket".
//
// For TCP and UDP the address is host:port. No host is the container itself;
// "localhost" is 127.0.0.1, then ::1; other names are looked up in the
// container's /etc/hosts, and nowhere else. For Unix sockets the address is a
// path in the container, which links can't lead out of, or "@" and an abstract
// name.
//
// The connection is one of package net, such as a *net.TCPConn, and the
// caller's: the end of ctx, of the container or of the engine does not close
// it. When the container ends, its side of it is closed, so a Read gives io.EOF
// or ECONNRESET.
//
// It works from New on until the container ends. In a paused container a server's
// queue takes the connection, and nothing is read from it before Resume.
//
// Errors are *net.OpError: errors.Is finds syscall.ECONNREFUSED where nothing
// listens, fs.ErrNotExist where there is no such socket, ctor.ErrInvalid where
// the container has ended, ctor.ErrNotFound after Close, and ctx's error;
// errors.As finds net.UnknownNetworkError, *net.AddrError and *net.DNSError.
//
// It fits net/http's Transport.DialContext, and what drivers of databases have
// for it. Linux 5.8 is needed.
func (c *Container) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = c.through(ctx, func(ctx context.Context) (err error) {
		conn, err = c.door.Dial(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, reach.OpError("dial", network, address, c.Name(), err)
	}
	return conn, nil
}

// dialBare is Dial for a caller that says itself what it dials.
func (c *Container) dialBare(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.Dial(ctx, network, address)
	return conn, reach.Bare(err)
}
