package container

import (
	"context"
	"net"

	"github.com/ctorhq/ctor/internal/reach"
)

// Listen announces on an address inside the container's network, as
// [net.Listen] does in the program's: the program serves, and what runs in the
// container connects to it on its own loopback. The networks are "tcp", "tcp4",
// "tcp6", "unix" and "unixpacket"; addresses are as with Dial, except that no
// host means all of the container's, and port 0 one that is free.
//
// A Unix socket is made in an existing directory of the container's file system, and
// every process in the container may connect to it, as with TCP. It is removed when
// the listener is closed, and replaced if the program that listened was killed.
//
// The listener is closed when the container ends, with Close of the container
// or of the engine; Accept gives net.ErrClosed then. Connections that were
// accepted are the caller's. ctx bounds the call only. Errors are as with Dial;
// syscall.EADDRINUSE is that of an address that is taken.
func (c *Container) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = c.through(ctx, func(ctx context.Context) (err error) {
		l, err = c.door.Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, reach.OpError("listen", network, address, c.Name(), err)
	}
	return l, nil
}

// ListenPacket is Listen for "udp", "udp4" and "udp6", as [net.ListenPacket].
func (c *Container) ListenPacket(ctx context.Context, network, address string) (p net.PacketConn, err error) {
	err = c.through(ctx, func(ctx context.Context) (err error) {
		p, err = c.door.ListenPacket(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, reach.OpError("listen", network, address, c.Name(), err)
	}
	return p, nil
}
