package links

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/ctorhq/ctor/internal/relay"
)

// A Port of a container is one of the host's as well.
type Port struct {
	Host      string // where the program listens; "" is "127.0.0.1:0"
	Container int
	Protocol  string // "tcp" or "udp"; "" is "tcp"
}

// Check finds what is wrong with the port before anything is made.
func (p Port) Check() error {
	if p.Container < 1 || p.Container > 65535 {
		return invalid("published port %d: it must be from 1 to 65535", p.Container)
	}
	if protocol := p.protocol(); protocol != "tcp" && protocol != "udp" {
		return invalid("published port %d: protocol %q: it must be tcp or udp", p.Container, p.Protocol)
	}
	if _, _, err := net.SplitHostPort(p.host()); err != nil {
		return invalid("published port %d: host address %q: %v", p.Container, p.Host, err)
	}
	return nil
}

func (p Port) host() string     { return cmp.Or(p.Host, "127.0.0.1:0") }
func (p Port) protocol() string { return cmp.Or(p.Protocol, "tcp") }

// published is a port that is served.
type published struct {
	Port
	server *relay.Server
}

// Publish listens on the host. It lasts for all lives of the container: between
// them a connection is reset.
func (l *Links) Publish(ctx context.Context, p Port) error {
	s, err := l.serve(ctx, p)
	if err != nil {
		return fmt.Errorf("publish port %d: %w", p.Container, err)
	}
	l.ports = append(l.ports, published{p, s})
	return nil
}

func (l *Links) serve(ctx context.Context, p Port) (*relay.Server, error) {
	inside := net.JoinHostPort("localhost", strconv.Itoa(p.Container))
	dial := func(ctx context.Context) (net.Conn, error) { return l.c.Dial(ctx, p.protocol(), inside) }
	var lc net.ListenConfig
	if p.protocol() == "udp" {
		at, err := lc.ListenPacket(ctx, "udp", p.host())
		if err != nil {
			return nil, err
		}
		return relay.ServeDatagrams(at, dial), nil
	}
	at, err := lc.Listen(ctx, "tcp", p.host())
	if err != nil {
		return nil, err
	}
	return relay.Serve(at, dial), nil
}

// Unpublish ends what Publish has begun.
func (l *Links) Unpublish() {
	for _, p := range l.ports {
		_ = p.server.Close() // of a listener
	}
}

// Addr tells where on the host a port of the container is published: the first place by
// TCP, else the first by UDP; nil: none.
func (l *Links) Addr(port int) net.Addr {
	var found net.Addr
	for _, p := range l.ports {
		if p.Container == port && (found == nil || found.Network() == "udp" && p.protocol() == "tcp") {
			found = p.server.Addr()
		}
	}
	return found
}
