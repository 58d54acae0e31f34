package reach

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/ctorhq/ctor/internal/router"
)

// A Router joins containers into a network. Closed, it takes the network from all
// of them.
type Router interface {
	// Join makes a link into the network of a container with this first process: at
	// its end it has a name, and an address in each of the subnets.
	Join(process *os.File, name string, at []netip.Addr) (Link, error)

	// Dial connects to a literal address in the network, and Listen and ListenPacket
	// announce on one of the router's own. They end with the router, and connections
	// are the caller's.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)

	// Masquerade gives the containers that join from now on a way out by the host's
	// own network, on which there is a link, a route and a table of rules for it.
	Masquerade() error

	io.Closer
}

// A Link leads from a router to a container.
type Link interface {
	// Close ends what goes through the link, once its container has ended.
	Close() error
	// Cut takes it from a container that goes on.
	Cut() error
}

// Router implements Doors.
func (h *here) Router(own []netip.Prefix) (Router, error) {
	r, err := router.Open(own)
	if err != nil {
		return nil, err
	}
	return routerHere{r}, nil
}

type routerHere struct{ *router.Router }

func (r routerHere) Join(process *os.File, name string, at []netip.Addr) (Link, error) {
	l, err := r.Router.Join(process, name, at)
	if err != nil {
		return nil, err
	}
	return l, nil
}
