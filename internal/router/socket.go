package router

import (
	"context"
	"net"

	"github.com/ctorhq/ctor/internal/netns"
)

// Dial connects to a literal address in the network, from the router's own.
func (r *Router) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return netns.Dial(ctx, r.namespace, network, address)
}

// Listen announces on a literal address of the router's, in the network.
func (r *Router) Listen(network, address string) (net.Listener, error) {
	return netns.Listen(r.namespace, network, address)
}

// ListenPacket is Listen for datagrams.
func (r *Router) ListenPacket(network, address string) (net.PacketConn, error) {
	return netns.ListenPacket(r.namespace, network, address)
}
