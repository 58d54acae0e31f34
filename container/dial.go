package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/netns"
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
// It works from New on until the container ends. In one that is paused, a
// server's queue takes the connection, and nobody reads from it before Resume.
//
// Errors are *net.OpError: errors.Is finds syscall.ECONNREFUSED where nobody
// listens, fs.ErrNotExist where there is no such socket, ctor.ErrInvalid where
// the container has ended, ctor.ErrNotFound after Close, and ctx's error;
// errors.As finds net.UnknownNetworkError, *net.AddrError and *net.DNSError.
//
// It fits net/http's Transport.DialContext, and what drivers of databases have
// for it. Linux 5.8 is needed.
func (c *Container) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, c.opError("dial", network, address, err)
	}
	return conn, nil
}

func (c *Container) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connect := c.connectIP
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	case "unix", "unixgram", "unixpacket":
		connect = c.connectUnix
	default:
		return nil, net.UnknownNetworkError(network)
	}
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	process, err := c.pidfd(ctx)
	if err == nil {
		var conn net.Conn
		if conn, err = connect(ctx, process, network, address); err == nil {
			return conn, nil
		}
	}
	return nil, engine.Cause(ctx, c.whyNot(ctx, err))
}

func (c *Container) connectIP(ctx context.Context, process *os.File, network, address string) (net.Conn, error) {
	e, err := parseEndpoint(ctx, network, address)
	if err != nil {
		return nil, err
	}
	addresses, err := c.resolve(process, e)
	if err != nil {
		return nil, err
	}
	var first error // as package net tells of it
	for _, a := range addresses {
		conn, err := netns.Dial(ctx, process, network, a)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// connectUnix connects to the socket itself, not to its path, which might lead
// elsewhere by then.
func (c *Container) connectUnix(ctx context.Context, process *os.File, network, address string) (net.Conn, error) {
	if address == "" || address[0] == '@' {
		return netns.Dial(ctx, process, network, address)
	}
	root, err := c.root(process)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	socket, err := root.Find(address)
	if err != nil {
		return nil, errnoOf(err)
	}
	defer socket.Close()
	if st, err := socket.Stat(); err != nil {
		return nil, err
	} else if st.Mode().Type() != fs.ModeSocket {
		return nil, os.NewSyscallError("connect", syscall.ENOTSOCK)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, fmt.Sprintf("/proc/self/fd/%d", socket.Fd()))
}

// errnoOf takes from an error the path, which the net.OpError has as well.
func errnoOf(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return os.NewSyscallError(pe.Op, pe.Err)
	}
	return err
}
