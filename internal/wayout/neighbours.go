package wayout

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft"
)

// Neighbours are whom a container reaches without its way out, by other links than
// loopback.
type Neighbours interface {
	// Own are the container's addresses on those links, when the way is opened.
	Own() []netip.Addr

	// Lookup gives a neighbour's addresses. known tells that the name is one's, also
	// of one that has no address now: the way out is not asked for it then.
	Lookup(name string) (at []netip.Addr, known bool)

	// At gives the name of the neighbour at an address.
	At(netip.Addr) (name string, ok bool)

	// Only tells that there is nothing beyond the neighbours: other names don't
	// exist.
	Only() bool
}

// Own keeps what goes to an address of the container's own from the way.
func (w *Way) Own(at netip.Addr) error { return w.own(at, nft.Add) }

// Disown ends what Own began.
func (w *Way) Disown(at netip.Addr) error { return w.own(at, nft.Remove) }

func (w *Way) own(at netip.Addr, change func(*netlink.Socket, string, string, netip.Addr) error) error {
	if w.routed && at.Is6() {
		return nil // of IPv6 it takes nothing
	}
	return netns.Within(w.process, func() error {
		s, err := netlink.Open(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer s.Close()
		return change(s, table, ownSet, at)
	})
}

// neighbour answers a question for a name that is a neighbour's, or that does
// not exist. ok is false where the way out may know it.
func (n *names) neighbour(name string, typ dnsmessage.Type) (_ dnsmessage.ResourceBody, _ dnsmessage.RCode, ok bool) {
	if n.neighbours == nil {
		return nil, 0, false
	}
	at, known := n.neighbours.Lookup(name)
	if !known && !n.neighbours.Only() {
		return nil, dnsmessage.RCodeSuccess, false
	}
	if len(at) == 0 {
		return nil, dnsmessage.RCodeNameError, true
	}
	for _, a := range at {
		switch {
		case a.Is4() && typ == dnsmessage.TypeA:
			return &dnsmessage.AResource{A: a.As4()}, dnsmessage.RCodeSuccess, true
		case a.Is6() && typ == dnsmessage.TypeAAAA:
			return &dnsmessage.AAAAResource{AAAA: a.As16()}, dnsmessage.RCodeSuccess, true
		}
	}
	return nil, dnsmessage.RCodeSuccess, true
}
