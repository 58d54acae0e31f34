package network

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/ctorhq/ctor/internal/lan"
)

// Dial connects to a container in the network, from this program's own address
// there: the first of each subnet. The networks are "tcp", "tcp4", "tcp6", "udp",
// "udp4" and "udp6". The address is host:port, where the host is a name that has
// been joined, or a literal address.
//
// It is a net.Dialer's DialContext to net/http and to drivers, and a way out to
// another container: container.Out(n.Dial) lets that reach all that is in the network
// without being in it.
//
// Errors are *net.OpError: errors.Is finds syscall.ECONNREFUSED where no process
// listens and syscall.EHOSTUNREACH where no container has the address, errors.As a *net.DNSError where no
// container that runs has the name.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, leave, err := n.in.Enter(ctx)
	if err != nil {
		return nil, opError("dial", network, err)
	}
	defer leave()
	c, err := n.lan.Dial(ctx, network, address)
	if err != nil {
		return nil, opError("dial", network, err)
	}
	return c, nil
}

// Listen announces on this program's addresses in the network: the program serves,
// and containers connect to it. The networks are "tcp", "tcp4" and "tcp6". The
// address is host:port, where the host is a name by which containers find the
// program, as long as the listener is open; "" is none, and port 0 one that is free.
// A name may have several listeners, of different ports.
//
// The listener is closed with the network; connections that were accepted are the
// caller's. A name that is a container's is ctor.ErrAlreadyExists, an address that is
// taken syscall.EADDRINUSE.
func (n *Network) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	ctx, leave, err := n.in.Enter(ctx)
	if err != nil {
		return nil, opError("listen", network, err)
	}
	defer leave()
	l, err := n.lan.Listen(ctx, network, address)
	if err != nil {
		return nil, opError("listen", network, err)
	}
	return l, nil
}

// ListenPacket is Listen for "udp", "udp4" and "udp6", as [net.ListenPacket].
func (n *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	ctx, leave, err := n.in.Enter(ctx)
	if err != nil {
		return nil, opError("listen", network, err)
	}
	defer leave()
	p, err := n.lan.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, opError("listen", network, err)
	}
	return p, nil
}

// opError makes err what package net would give.
func opError(op, network string, err error) error {
	if errors.Is(err, os.ErrClosed) {
		err = lan.ErrRemoved
	}
	var e *net.OpError
	if errors.As(err, &e) {
		return err
	}
	return &net.OpError{Op: op, Net: network, Err: err}
}
