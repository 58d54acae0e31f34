package links

import (
	"net/netip"
	"strings"

	"github.com/ctorhq/ctor/internal/reach"
)

// neighbours are the other containers of its networks.
type neighbours struct{ l *Links }

var _ reach.Neighbours = neighbours{}

// Own implements reach.Neighbours.
func (n neighbours) Own() (own []netip.Addr) {
	for _, m := range n.l.all() {
		own = append(own, m.Addresses()...)
	}
	return own
}

// Lookup implements reach.Neighbours: a name in one of the networks, or such a
// name, a dot and the network's.
func (n neighbours) Lookup(name string) (at []netip.Addr, known bool) {
	for _, m := range n.l.all() {
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
	for _, m := range n.l.all() {
		if name, ok := m.Network.At(a); ok {
			return name, true
		}
	}
	return "", false
}

// Only implements reach.Neighbours.
func (n neighbours) Only() bool {
	d, _ := n.l.dialer()
	return d == nil && !n.l.routed()
}
