package container

import (
	"fmt"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// Network says which network a container has. The zero value is one of its own
// with a loopback and no way out: the program reaches into it with Dial and
// Listen, and the container reaches nothing.
type Network struct {
	dial egress.Dialer
	host bool
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
func Host() Network { return Network{host: true} }

// check finds what is wrong with a network before anything is made.
func (n Network) check(cfg Config) error {
	if n.dial == nil {
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

// prepare adds to a configuration what the network needs: files, which lie in
// dir, and variables.
func (n Network) prepare(o *spec.Options, root *rootfs.Root, ca func() (*egress.CA, error)) (err error) {
	switch {
	case n.host:
		o.HostNet = true
	case n.dial != nil:
		o.ResolvConf = fmt.Sprintf("nameserver %s\n", reach.Resolver)
		if !egress.Answers(n.dial) {
			return nil
		}
		authority, err := ca()
		if err != nil {
			return err
		}
		o.Stores, o.StoreValues, err = spec.Trust(root, o.Files, authority.Certificate())
		return err
	}
	return nil
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
