package container

import (
	"context"
	"net"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/links"
)

// Package network makes the networks, and reaches what is here by way of package
// lan.
func init() {
	lan.Joined = func(j lan.Join) any { return Network{links.Plan{Joins: []lan.Join{j}}} }
	lan.Connect = func(ctx context.Context, c any, j lan.Join) error {
		of := c.(*Container)
		return of.call(ctx, func(context.Context) error { return of.links.Connect(j) })
	}
	lan.Disconnect = func(ctx context.Context, c any, n *lan.Network) error {
		of := c.(*Container)
		return of.call(ctx, func(context.Context) error { return of.links.Disconnect(n) })
	}
}

// Network says which network a container has. The zero value is one of its own
// with a loopback and no way out: the program reaches into it with Dial and
// Listen, and the container reaches nothing. [Out], [Host] and [Share] give others,
// and network.Network.Join one together with other containers.
type Network struct{ plan links.Plan }

// And gives a container both: it is in all the networks, as eth0, eth1 and so on, in
// this order. Its way out is its own, from [Out], else that of the first network which
// has one. Host and Share go with nothing else, and two of Out don't go together: New
// is ctor.ErrInvalid.
func (n Network) And(other Network) Network { return Network{n.plan.And(other.plan)} }

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
func Out(d egress.Dialer) Network { return Network{links.Plan{Out: d}} }

// Host is the host's own network, without any wall: the container reaches what
// the host reaches, the services on its loopback included, listens on the host's
// addresses, and sees the abstract Unix sockets of all its programs. It has the
// host's resolv.conf.
func Host() Network { return Network{links.Host()} }

// Share is another container's network: both have the same loopback, addresses,
// ports, names of others and way out, and see each other's abstract Unix sockets. It
// is the network that other has when a life begins; other must not have ended then,
// or New and Start are ctor.ErrInvalid. When other ends its network stays, without
// the links and the way out, until this container ends too.
//
// It can't be used with Detach or Keep. A nil other is ctor.ErrInvalid.
func Share(other *Container) Network {
	if other == nil {
		return Network{links.Share(nil)}
	}
	return Network{links.Share(other.links)}
}

// DialContext connects as a container with this network does to the outside, but
// from the program, as net.Dialer's does: a client of its own then reaches what the
// container reaches, by a name or an address outside. Other containers of a network it
// joins are not reached.
// Without a way out each connection is refused, with syscall.ECONNREFUSED.
func (n Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return n.plan.DialContext(ctx, network, address)
}

// SetOut changes what makes the container's connections to the outside, for those
// that it opens from now on; what is open stays. For a kept container that this
// program has found, and whose way out was a function of the program before, it is
// how to give it one again, before Start. nil refuses all.
//
// The container must have been made with [Out], and with one that answers TLS if d
// does, since it trusts the engine's authority from its beginning; and it can't be
// detached, since another process makes the connections then. Each of these, and a
// malformed policy, is ctor.ErrInvalid.
func (c *Container) SetOut(ctx context.Context, d egress.Dialer) error {
	return c.wrap("set the way out of", c.call(ctx, func(ctx context.Context) error { return c.links.SetOut(ctx, d) }))
}

// linked is what the container's links must know of it.
type linked struct{ *Container }

var _ links.Container = linked{}

// Offer implements links.Container.
func (l linked) Offer(ctx context.Context, at string) (done func() error, err error) {
	if done, err = l.door.Offer(ctx, at); err != nil {
		return nil, l.whyNot(ctx, err)
	}
	return done, nil
}
