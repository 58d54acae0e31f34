package reach

import (
	"context"
	"net"
	"os"

	"github.com/ctorhq/ctor/internal/netns"
)

// Listen implements Door.
func (d *door) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	process, err := d.first(ctx)
	if err != nil {
		return nil, err
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return d.listenTCP(ctx, process, network, address)
	case "unix", "unixpacket":
		return d.listenUnix(ctx, process, network, address)
	}
	return nil, net.UnknownNetworkError(network)
}

// ListenPacket implements Door.
func (d *door) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	process, err := d.first(ctx)
	if err != nil {
		return nil, err
	}
	switch network {
	case "udp", "udp4", "udp6":
		return d.listenUDP(ctx, process, network, address)
	}
	return nil, net.UnknownNetworkError(network)
}

// local gives the one address to listen on.
func (d *door) local(ctx context.Context, process *os.File, network, address string) (string, error) {
	e, err := parseEndpoint(ctx, network, address)
	if err != nil {
		return "", err
	}
	if e.host == "" || net.ParseIP(e.host).IsUnspecified() {
		return address, nil
	}
	all, err := d.resolve(ctx, process, e)
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

func (d *door) listenTCP(ctx context.Context, process *os.File, network, address string) (net.Listener, error) {
	at, err := d.local(ctx, process, network, address)
	if err != nil {
		return nil, err
	}
	l, err := netns.Listen(process, network, at)
	if err != nil {
		return nil, err
	}
	t, err := d.tie(l.Close)
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

func (d *door) listenUDP(ctx context.Context, process *os.File, network, address string) (net.PacketConn, error) {
	at, err := d.local(ctx, process, network, address)
	if err != nil {
		return nil, err
	}
	p, err := netns.ListenPacket(process, network, at)
	if err != nil {
		return nil, err
	}
	t, err := d.tie(p.Close)
	if err != nil {
		return nil, err
	}
	return &packetConn{p.(*net.UDPConn), t}, nil
}
