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
	"github.com/ctorhq/ctor/internal/record"
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
// has an address of 198.18.0.0/15, and what it means is d's business. TXT, MX, SRV
// and NS records of a name are looked up by the program's own resolver where
// [egress.Forwards] says so; of other types a name has none. A
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
// A malformed policy is ctor.ErrInvalid, by New. nil is no way out.
//
// With Detach, d has to be data: [egress.Public], [egress.Allow], [egress.Deny] or
// an [egress.Mux] of them; any other is a function of this program, and
// ctor.ErrInvalid. The connections of a detached container are made by a process
// of its own, which is this program executed again and ends with the container. A
// kept container that a later program starts has the way out that it had, if that
// is data; else [Container.SetOut] gives it one before.
//
// A container has at most 4096 connections and 1024 flows of datagrams at a time,
// fewer where that would be more than a quarter of the descriptors that this
// program may open, and 65536 names; one that asks for more is refused, and no
// other container notices. [egress.Limit] sets lower bounds.
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
// container reaches, by a name or an address outside. Other containers of a network it
// joins are not reached.
// Without a way out each connection is refused, with syscall.ECONNREFUSED.
func (n Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if n.share != nil {
		return n.share.network.DialContext(ctx, network, address)
	}
	if n.host() {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	out := n.dial
	for _, j := range n.joins {
		if out == nil {
			out = j.Network.Out
		}
	}
	if out != nil {
		return out(ctx, network, address)
	}
	for _, j := range n.joins {
		if j.Network.Routed {
			return j.Network.DialOut(ctx, network, address)
		}
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
	case n.routed() && n.policed():
		return errPoliced
	case n.dial == nil:
		return nil
	}
	if err := egress.Check(n.dial); err != nil || !cfg.Detach {
		return err
	}
	if _, err := egress.Marshal(n.dial); err != nil {
		return fmt.Errorf("a detached container outlives this program: %w", err)
	}
	return nil
}

// routed tells whether one of the networks leads to the host's, and policed whether
// there is a way out that a policy decides on.
func (n Network) routed() bool {
	return slices.ContainsFunc(n.joins, func(j lan.Join) bool { return j.Network.Routed })
}

func (n Network) policed() bool {
	return n.dial != nil || slices.ContainsFunc(n.joins, func(j lan.Join) bool { return j.Network.Out != nil })
}

var errPoliced = invalid("it has a way out that is a policy, which would not hold in a network with Config.Masquerade")

// prepare adds to a configuration what the network needs beside interfaces; dir is where
// the container's files lie. trusts tells whether the container trusts the engine's
// authority.
func (n Network) prepare(o *spec.Options, dir string) (trusts bool, err error) {
	if n.host() {
		return false, o.UseHost()
	}
	if n.share != nil {
		o.ShareNet = sharedNetwork(dir)
	}
	asks, trusts := n.demands()
	if asks {
		o.ResolvConf = fmt.Sprintf("nameserver %s\n", reach.Resolver)
	}
	return trusts, nil
}

// demands tells whether a container asks the way out for names, and whether it
// trusts the engine's authority: it does so from its beginning or never.
func (n Network) demands() (asks, trusts bool) {
	if other := n.share; other != nil {
		return other.about.Out != nil || len(other.network.joins) > 0, spec.Trusts(other.e.Dir(other.ID()))
	}
	if n.dial != nil {
		return true, egress.Answers(n.dial)
	}
	return len(n.joins) > 0, slices.ContainsFunc(n.joins, func(j lan.Join) bool {
		return j.Network.Out != nil && egress.Answers(j.Network.Out)
	})
}

// record is what later programs must know of the network.
func (n Network) record() *record.Out {
	if n.dial == nil {
		return nil
	}
	policy, err := egress.Marshal(n.dial)
	if err != nil {
		return &record.Out{} // a function
	}
	return &record.Out{Policy: policy}
}
