package container

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/reach"
)

// dialer is the container's way out as it is now; nil is none.
func (c *Container) dialer() egress.Dialer {
	if c.network.dial != nil {
		return c.network.dial
	}
	for _, m := range c.links.all() {
		if m.Network.Out != nil {
			return m.Network.Out
		}
	}
	return nil
}

// dialOut makes a connection that the container asks for.
func (c *Container) dialOut(ctx context.Context, network, address string, from netip.AddrPort) (_ net.Conn, err error) {
	// What a container asks for must not end the program.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("dial %s %s for container %s: panic: %v", network, address, c.ID(), p)
			log.G(c.e.Context(ctx)).WithError(err).Errorf("the way out panicked\n%s", debug.Stack())
		}
	}()
	dial := c.dialer()
	if dial == nil {
		return nil, unix.EHOSTUNREACH
	}
	source := egress.Source{Container: c.ID(), Addr: from}
	if egress.Answers(dial) {
		if source.CA, err = c.e.CA(); err != nil {
			return nil, err
		}
	}
	return dial(egress.WithSource(ctx, source), network, address)
}

// neighbours are the other containers of its networks.
type neighbours struct{ c *Container }

var _ reach.Neighbours = neighbours{}

// Own implements reach.Neighbours.
func (n neighbours) Own() (own []netip.Addr) {
	for _, m := range n.c.links.all() {
		own = append(own, m.Addresses()...)
	}
	return own
}

// Lookup implements reach.Neighbours: a name in one of the networks, or such a
// name, a dot and the network's.
func (n neighbours) Lookup(name string) (at []netip.Addr, known bool) {
	for _, m := range n.c.links.all() {
		if at, known = m.Network.Lookup(name); known {
			return at, true
		}
		if short, ok := cutSuffixFold(name, "."+m.Network.Name); ok {
			if at, known = m.Network.Lookup(short); known {
				return at, true
			}
		}
	}
	return nil, false
}

// cutSuffixFold is strings.CutSuffix for what knows no case.
func cutSuffixFold(s, suffix string) (string, bool) {
	if at := len(s) - len(suffix); at >= 0 && strings.EqualFold(s[at:], suffix) {
		return s[:at], true
	}
	return s, false
}

// At implements reach.Neighbours.
func (n neighbours) At(a netip.Addr) (string, bool) {
	for _, m := range n.c.links.all() {
		if name, ok := m.Network.At(a); ok {
			return name, true
		}
	}
	return "", false
}

// Only implements reach.Neighbours.
func (n neighbours) Only() bool { return n.c.dialer() == nil }
