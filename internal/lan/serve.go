package lan

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// Dial connects to an address in the network, from this program's own: a host is
// a container's name there, or a literal address.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := split(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var at []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		at = []netip.Addr{a.Unmap()}
	} else if at, _ = n.Lookup(host); len(at) == 0 {
		return nil, &net.DNSError{Err: "no container that runs has this name in the network", Name: host, IsNotFound: true}
	}
	var first error
	for _, a := range at {
		if !suits(network, a) {
			continue
		}
		c, err := n.Router.Dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = &net.AddrError{Err: "no suitable address found", Addr: host}
	}
	return nil, first
}

// DialOut connects to an address outside, as the members of a routed network do: by the
// host's network, and to nothing of the host.
func (n *Network) DialOut(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := split(ctx, network, address)
	if err != nil {
		return nil, err
	}
	at, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	for _, a := range at {
		var c net.Conn
		if c, err = n.Router.Dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// suits tells whether a network such as "tcp4" has an address.
func suits(network string, a netip.Addr) bool {
	switch network[len(network)-1] {
	case '4':
		return a.Is4()
	case '6':
		return a.Is6()
	}
	return true
}

// split takes an address apart. The networks are those of TCP and UDP.
func split(ctx context.Context, network, address string) (host, port string, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return "", "", net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, service)
	return host, strconv.Itoa(number), err
}

// Listen announces on this program's own addresses in the network. A host is a name
// by which containers find it as long as the listener is open; "" is none.
func (n *Network) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	at, give, err := n.announce(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l, err := n.Router.Listen(network, at)
	if err != nil {
		give()
		return nil, err
	}
	t := &tie{end: l.Close, give: give}
	if err := n.tie(t); err != nil {
		return nil, err
	}
	return &listener{l, t}, nil
}

// ListenPacket is Listen for datagrams.
func (n *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	at, give, err := n.announce(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p, err := n.Router.ListenPacket(network, at)
	if err != nil {
		give()
		return nil, err
	}
	t := &tie{end: p.Close, give: give}
	if err := n.tie(t); err != nil {
		return nil, err
	}
	return &packetConn{p, t}, nil
}

// announce gives the literal address of a listener, and how to give up its name.
func (n *Network) announce(ctx context.Context, network, address string) (at string, give func(), err error) {
	host, port, err := split(ctx, network, address)
	if err != nil {
		return "", nil, err
	}
	if host == "" {
		return net.JoinHostPort("", port), func() {}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(a.Unmap().String(), port), func() {}, nil
	}
	if err := checkAlias(host); err != nil {
		return "", nil, err
	}
	if err := n.claimListener(host); err != nil {
		return "", nil, err
	}
	return net.JoinHostPort("", port), func() { n.releaseListener(host) }, nil
}

// claimListener makes a name this program's, for one more listener.
func (n *Network) claimListener(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names[key(name)].member != nil {
		return n.claim(name, nil)
	}
	n.names[key(name)] = holder{listeners: n.names[key(name)].listeners + 1}
	return nil
}

func (n *Network) releaseListener(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	has := n.names[key(name)]
	if has.listeners--; has.listeners > 0 {
		n.names[key(name)] = has
		return
	}
	delete(n.names, key(name))
}

// A tie ends a listener once: with its own Close, or with the network.
type tie struct {
	end  func() error
	give func()
	drop func()

	once sync.Once
	err  error
}

func (t *tie) close() error {
	t.once.Do(func() {
		t.drop()
		t.err = t.end()
		t.give()
	})
	return t.err
}

// tie has a listener end with the network. When it fails it has ended it.
func (n *Network) tie(t *tie) error {
	t.drop = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.serving, t)
	}
	n.mu.Lock()
	removed := n.removed
	if !removed {
		n.serving[t] = struct{}{}
	}
	n.mu.Unlock()
	if removed {
		_ = t.close()
		return ErrRemoved
	}
	return nil
}

type listener struct {
	net.Listener
	tie *tie
}

func (l *listener) Close() error { return l.tie.close() }

type packetConn struct {
	net.PacketConn
	tie *tie
}

func (p *packetConn) Close() error { return p.tie.close() }
