package container

import (
	"context"
	"net"
	"os"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/netns"
)

// Listen announces on an address inside the container's network, as
// [net.Listen] does in the program's: the program serves, and what runs in the
// container connects to it on its own loopback. The networks are "tcp", "tcp4",
// "tcp6", "unix" and "unixpacket"; addresses are as with Dial, except that no
// host means all of the container's, and port 0 one that is free.
//
// A Unix socket is made in the container's file system, in a directory that is
// there, and everybody in the container may connect to it: so it is with TCP.
// It is removed when the listener is closed, and replaced if the program that
// listened was killed before.
//
// The listener is closed when the container ends, with Close of the container
// or of the engine; Accept gives net.ErrClosed then. Connections that were
// accepted are the caller's. ctx bounds the call only. Errors are as with Dial;
// syscall.EADDRINUSE is that of an address that is taken.
func (c *Container) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := c.announce(ctx, func(ctx context.Context, process *os.File) (err error) {
		switch network {
		case "tcp", "tcp4", "tcp6":
			l, err = c.listenTCP(ctx, process, network, address)
		case "unix", "unixpacket":
			l, err = c.listenUnix(ctx, process, network, address)
		default:
			err = net.UnknownNetworkError(network)
		}
		return err
	})
	if err != nil {
		return nil, c.opError("listen", network, address, err)
	}
	return l, nil
}

// ListenPacket is Listen for "udp", "udp4" and "udp6", as [net.ListenPacket].
func (c *Container) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var p net.PacketConn
	err := c.announce(ctx, func(ctx context.Context, process *os.File) (err error) {
		switch network {
		case "udp", "udp4", "udp6":
			p, err = c.listenUDP(ctx, process, network, address)
		default:
			err = net.UnknownNetworkError(network)
		}
		return err
	})
	if err != nil {
		return nil, c.opError("listen", network, address, err)
	}
	return p, nil
}

// announce is what every listener's making has around it.
func (c *Container) announce(ctx context.Context, listen func(context.Context, *os.File) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	process, err := c.pidfd(ctx)
	if err == nil {
		err = listen(ctx, process)
	}
	return engine.Cause(ctx, c.whyNot(ctx, err))
}

// local gives the one address to listen on.
func (c *Container) local(ctx context.Context, process *os.File, network, address string) (string, error) {
	e, err := parseEndpoint(ctx, network, address)
	if err != nil {
		return "", err
	}
	if e.host == "" || net.ParseIP(e.host).IsUnspecified() {
		return address, nil
	}
	all, err := c.resolve(process, e)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

type tcpListener struct {
	*net.TCPListener
	tie *tie
}

func (l *tcpListener) Close() error { return l.tie.Close() }

func (c *Container) listenTCP(ctx context.Context, process *os.File, network, address string) (net.Listener, error) {
	at, err := c.local(ctx, process, network, address)
	if err != nil {
		return nil, err
	}
	l, err := netns.Listen(process, network, at)
	if err != nil {
		return nil, err
	}
	t, err := c.tie(l.Close)
	if err != nil {
		return nil, err
	}
	return &tcpListener{l.(*net.TCPListener), t}, nil
}

type packetConn struct {
	*net.UDPConn
	tie *tie
}

func (p *packetConn) Close() error { return p.tie.Close() }

func (c *Container) listenUDP(ctx context.Context, process *os.File, network, address string) (net.PacketConn, error) {
	at, err := c.local(ctx, process, network, address)
	if err != nil {
		return nil, err
	}
	p, err := netns.ListenPacket(process, network, at)
	if err != nil {
		return nil, err
	}
	t, err := c.tie(p.Close)
	if err != nil {
		return nil, err
	}
	return &packetConn{p.(*net.UDPConn), t}, nil
}
