// Package router joins containers into a network: a namespace of the program's
// own, which no process is in, passes packets on between links that lead into the
// containers' namespaces.
//
// It is a router and not a switch: each container is alone on its link, and each
// packet's sender must be who is at the link that it came by. So there is no other
// host's ARP, neighbour discovery or hardware address that a container could lie
// about, and one rule drops what claims to be of another sender. A container sees
// its network as one subnet all the same. Nothing waits for an answer to "who
// has", so the first packet goes out at once, and to an address that no container
// has the answer is at once that there is no such host. What only a switch has is
// missing: broadcast and multicast.
//
// All of it lives in descriptors of this program, and nothing of the host's own
// network is touched, unless [Router.Masquerade] is asked for. When they are closed,
// or the program is killed, the namespace goes, and the containers' links with it.
package router

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft"
)

// A Router is a network's, while it is open.
type Router struct {
	namespace *os.File
	own       []netip.Prefix

	mu     sync.Mutex
	socket *netlink.Socket // in the namespace; nil: closed
	uplink *uplink         // nil: none
}

// Open makes a router for subnets, at most one of IPv4 and one of IPv6, in which
// it has the given addresses. A kernel without what it needs is
// errdefs.ErrUnavailable, and the error names the module.
func Open(own []netip.Prefix) (*Router, error) {
	r := &Router{own: own}
	var err error
	r.namespace, err = netns.New(r.enter)
	if err != nil {
		if r.socket != nil {
			err = errors.Join(err, r.socket.Close())
		}
		return nil, fmt.Errorf("router: %w", err)
	}
	return r, nil
}

// enter sets the namespace up, on a thread that is in it.
func (r *Router) enter() (err error) {
	if r.socket, err = netlink.Open(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	var b netlink.Batch
	b.Up(netlink.Loopback)
	for _, p := range r.own {
		b.Address(netlink.Loopback, alone(p)).Unreachable(p.Masked())
		if p.Addr().Is6() {
			b.Own(netlink.Loopback, alone(p), p.Addr()) // as in Link.enter
		}
	}
	if err := r.socket.Do(&b); err != nil {
		return err
	}
	rules, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer rules.Close()
	for _, p := range r.own {
		if err := guard(rules, p.Addr()); err != nil {
			return err
		}
		if err := forward(p.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// guard drops packets of one family whose sender is not at the link that they
// came by. It is made before anything is passed on.
func guard(s *netlink.Socket, of netip.Addr) error {
	const table, chain = "ctor", "senders"
	family, module := byte(unix.NFPROTO_IPV4), "nft_fib_ipv4"
	if of.Is6() {
		family, module = unix.NFPROTO_IPV6, "nft_fib_ipv6"
	}
	t := nft.New(table, family)
	t.Prerouting(chain)
	t.Rule(chain, nft.All(nft.NotFrom(netlink.Loopback), nft.Astray(), []nft.Expression{nft.Drop()})...)
	if of.Is6() {
		// Of IPv6 a connect(2) that is under way passes over a word that there is no
		// such host, and tries again after a second; not so a reset.
		t.Rule(chain, nft.All(nft.Protocol(unix.IPPROTO_TCP), nft.ToNone(), []nft.Expression{nft.Reset()})...)
	}
	return netlink.Missing(t.Commit(s), module)
}

// forward has the namespace of the calling thread pass packets of a family on.
func forward(of netip.Addr) error {
	settings := map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/send_redirects": "0"}
	if of.Is6() {
		settings = map[string]string{"ipv6/conf/all/forwarding": "1", "ipv6/conf/default/addr_gen_mode": "1"}
	}
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the network: the links into the containers go with it.
func (r *Router) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.socket == nil {
		return nil
	}
	var errs []error
	if r.uplink != nil {
		errs = append(errs, r.uplink.Close())
	}
	errs = append(errs, r.socket.Close(), r.namespace.Close())
	r.socket = nil
	return errors.Join(errs...)
}
