package container

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// Network says which network a container has. The zero value is one of its own
// with a loopback and no way out: the program reaches into it with Dial and
// Listen, and the container reaches nothing. [Out], [Host] and [Share] give others,
// and network.Network.Join one together with other containers.
type Network struct {
	dial  egress.Dialer
	joins []lan.Join
	whole []string   // of the parts, those that go with no other: Host, Share
	share *Container // of Share
}

// And gives a container both: it is in all the networks, as eth0, eth1 and so on, in
// this order. Its way out is its own, from [Out], else that of the first network which
// has one. Host and Share go with nothing else, and two of Out don't go together: New
// is ctor.ErrInvalid.
func (n Network) And(other Network) Network {
	both := Network{dial: n.dial, share: n.share, joins: slices.Concat(n.joins, other.joins), whole: slices.Concat(n.whole, other.whole)}
	switch {
	case both.dial == nil:
		both.dial = other.dial
	case other.dial != nil:
		both.whole = append(both.whole, "a second way out")
	}
	if both.share == nil {
		both.share = other.share
	}
	return both
}

// Out is a network of the container's own whose connections to the outside d
// makes, in this program: see package egress for what to give. TCP and UDP are
// passed on, over IPv4 and IPv6, and nothing else; each name that is looked up
// has an address of 198.18.0.0/15, and what it means is d's business. A
// connection that d refuses is refused in the container, one that d can't make
// because the host is unreachable is unreachable there, and both at once. A d
// that panics refuses, and the engine's Logger tells of it.
//
// The host's network is not touched: there is no device, route or rule outside
// the container's own namespace. It needs the kernel's nf_tables with nft_tproxy;
// without them New is ctor.ErrUnavailable, and says what to load.
//
// Where d may answer TLS itself, as [egress.Handler] and [egress.Secret] do, the
// container trusts the engine's own certificate authority beside those of its
// image, by its files in /etc/ssl and /etc/pki and by SSL_CERT_FILE and its like.
//
// A malformed policy is ctor.ErrInvalid, by New. The way out is a function of
// this program: it can't be used with Detach, and a kept container that another
// program starts again has none. At most 4096 connections and 1024 flows of
// datagrams are open at a time. nil is no way out.
func Out(d egress.Dialer) Network { return Network{dial: d} }

// Host is the host's own network, without any wall: the container reaches what
// the host reaches, the services on its loopback included, listens on the host's
// addresses, and sees the abstract Unix sockets of all its programs. It has the
// host's resolv.conf.
func Host() Network { return Network{whole: []string{hostNetwork}} }

const hostNetwork = "the host's network"

func (n Network) host() bool { return slices.Contains(n.whole, hostNetwork) }

// DialContext connects as a container with this network does to the outside, but
// from the program, as net.Dialer's does: a client of its own then reaches what the
// container reaches. Other containers of a network it joins are not reached.
// Without a way out each connection is refused, with syscall.ECONNREFUSED.
func (n Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if n.share != nil {
		return n.share.network.DialContext(ctx, network, address)
	}
	if n.host() {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	for _, dial := range n.dialers() {
		return dial(ctx, network, address)
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: there is no way out of the network: %w", address, syscall.ECONNREFUSED)}
}

// check finds what is wrong with a network before anything is made.
func (n Network) check(cfg Config) error {
	if slices.Contains(n.whole, sharedByAnother) && n.share == nil {
		return invalid("network: it is that of no container")
	}
	if len(n.whole) > 1 || len(n.whole) == 1 && (n.dial != nil || len(n.joins) > 0) {
		return invalid("network: %s goes with nothing else", n.whole[0])
	}
	switch {
	case n.share != nil && (cfg.Detach || cfg.Keep):
		return invalid("a container that shares a network, which this program alone knows, can't outlive it")
	case len(n.joins) > 0 && cfg.Detach:
		return invalid("a network is this program's, and a detached container outlives it")
	case n.dial == nil:
		return nil
	case cfg.Detach:
		return invalid("a way out is a function of this program, and a detached container outlives it")
	}
	return egress.Check(n.dial)
}

// dialers are those of the network's ways out, the one in force first.
func (n Network) dialers() (all []egress.Dialer) {
	if n.dial != nil {
		all = append(all, n.dial)
	}
	for _, j := range n.joins {
		if j.Network.Out != nil {
			all = append(all, j.Network.Out)
		}
	}
	return all
}

// prepare adds to a configuration what the network needs: files, which lie in
// dir, and variables.
func (n Network) prepare(o *spec.Options, root *rootfs.Root, ca func() (*egress.CA, error)) (err error) {
	if n.host() {
		o.HostNet = true
		return nil
	}
	if n.share != nil {
		o.ShareNet = sharedNetwork(o.Files)
		n = n.share.network
	}
	if n.dial == nil && len(n.joins) == 0 {
		return nil
	}
	o.ResolvConf = fmt.Sprintf("nameserver %s\n", reach.Resolver)
	if d := n.dialers(); len(d) == 0 || !egress.Answers(d[0]) {
		return nil
	}
	authority, err := ca()
	if err != nil {
		return err
	}
	o.Stores, o.StoreValues, err = spec.Trust(root, o.Files, authority.Certificate())
	return err
}
