package network

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/lan"
)

// Config says how a network is. The zero value is a network without a way out,
// whose name and subnets are chosen.
type Config struct {
	// Name is what the network is called, up to 76 letters, digits, and single
	// "-", "_" or "." between them. No two networks of an engine have the same. ""
	// is a random one.
	Name string

	// Subnets are where its containers' addresses are from: one of IPv4, one of
	// IPv6, or one of each. The first address of each is this program's. None may
	// overlap with another network's of the engine, nor with 198.18.0.0/15, nor, with
	// Masquerade, with an address or a route of the host's. nil
	// chooses one of each that are neither another network's nor the host's, and with
	// Masquerade not where a route of the host leads, from 10.208.0.0/12 and
	// fd63:746f:7200::/48; where the kernel has no IPv6, IPv4 alone.
	Subnets []netip.Prefix

	// Labels are kept with the network.
	Labels map[string]string

	// Out makes the connections that its containers open to the outside: see
	// container.Out. egress.Source tells it which container asks. nil is an internal
	// network: its containers reach each other, and nothing else.
	Out egress.Dialer

	// Masquerade is a way out in place of Out, for throughput that a function can't
	// have: the host's kernel passes on what the containers send, with the host's
	// address as the sender. No policy of package egress can be applied to it, and
	// nothing tells of its connections. The containers reach what the host's routes lead
	// to, its neighbours and other containers of the host included, by IPv4; of the host
	// itself and of link-local addresses, where most clouds have their metadata service,
	// they reach nothing, wherever the host's own rules send what is for such an address.
	// Names are looked up by the program's own resolver. The host reaches
	// the containers at their addresses, without the program in between, and nothing else
	// opens a connection to them.
	//
	// It is the only thing of this library that the host's network shows: a link named
	// ctor and a number, a route to the IPv4 subnet, and a table of nftables of the same
	// name, which belongs to this program; and that the host tracks connections from then
	// on. They go with the network, and when the program ends, however it does: what a
	// container still sends then goes nowhere. The host has to pass packets on
	// (net.ipv4.ip_forward), which is the administrator's to set, and its own firewall
	// counts too: where that drops what it passes on, as Docker's does, it drops this.
	//
	// A container in such a network can't have a way out that is a policy beside it. It
	// needs root, and Linux 5.12.
	Masquerade bool
}

// Network is one that containers are in together. It is safe for use by any number
// of goroutines.
type Network struct {
	in  *engine.Engine
	lan *lan.Network
}

// New makes a network, which lasts until it is removed or the engine is closed.
//
// A name that is taken is ctor.ErrAlreadyExists; a name, a subnet or a policy that
// can't be one, Out beside Masquerade, and a subnet that overlaps another network's, are
// ctor.ErrInvalid. A kernel that lacks veth, nf_tables or nft_fib_ipv4 and nft_fib_ipv6,
// and for Masquerade a host that does not pass packets on, is ctor.ErrUnavailable, and
// the error says what to load or to set. When New fails there is nothing of the network.
func New(ctx context.Context, e *ctor.Engine, cfg Config) (*Network, error) {
	name := cfg.Name
	if name == "" {
		name = strings.ToLower(rand.Text()[:16])
	}
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("new network %q: %w", name, err)
	}
	defer leave()
	n := &lan.Network{Name: name, Subnets: slices.Clone(cfg.Subnets), Labels: maps.Clone(cfg.Labels), Out: cfg.Out, Routed: cfg.Masquerade, Created: time.Now()}
	switch {
	case cfg.Out != nil && cfg.Masquerade:
		err = fmt.Errorf("no policy can be applied to what is masqueraded: either Out or Masquerade: %w", errdefs.ErrInvalidArgument)
	case cfg.Out != nil:
		err = egress.Check(cfg.Out)
	}
	if err == nil {
		err = in.Networks.Open(n, in.Doors)
	}
	if err != nil {
		return nil, fmt.Errorf("new network %q: %w", name, err)
	}
	made := &Network{in, n}
	made.tell(events.Created, nil)
	return made, nil
}

// tell notes what has happened to the network.
func (n *Network) tell(action string, c *container.Container) {
	e := events.Event{Kind: events.Network, Action: action, Name: n.Name()}
	if c != nil {
		e.Container = c.ID()
	}
	n.in.Tell(e)
}

// Get finds a network of the engine by its name. Where there is none it is
// ctor.ErrNotFound.
func Get(ctx context.Context, e *ctor.Engine, name string) (*Network, error) {
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("get network %q: %w", name, err)
	}
	defer leave()
	n := in.Networks.Get(name)
	if n == nil {
		return nil, fmt.Errorf("get network %q: no such network: %w", name, errdefs.ErrNotFound)
	}
	return &Network{in, n}, nil
}

// List gives all networks of the engine, in the order of their names.
func List(ctx context.Context, e *ctor.Engine) ([]*Network, error) {
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	defer leave()
	var all []*Network
	for _, n := range in.Networks.List() {
		all = append(all, &Network{in, n})
	}
	return all, nil
}

// Name is what the network is called.
func (n *Network) Name() string { return n.lan.Name }

// Remove ends the network. One with containers in it, running or not, is
// ctor.ErrInvalid, and the error names them. One that is removed already is no
// error.
func (n *Network) Remove(ctx context.Context) error {
	_, leave, err := n.in.Enter(ctx)
	if err != nil {
		return n.wrap("remove", err)
	}
	defer leave()
	now, err := n.lan.Remove()
	if now && err == nil {
		n.tell(events.Removed, nil)
	}
	return n.wrap("remove", err)
}

// Join is the network for a container's Config, which is in it as long as it is not
// closed: in all its lives, at the same addresses. Others find it by its name, its
// id, and the aliases.
//
// An alias is letters, digits, '-', '_' and '.', and is found in any case of letters.
// One that is another's name in the network is ctor.ErrAlreadyExists, by the
// container's New; a network that was removed is ctor.ErrNotFound.
func (n *Network) Join(aliases ...string) container.Network {
	return lan.Joined(lan.Join{Network: n.lan, Aliases: slices.Clone(aliases)}).(container.Network)
}

// Connect takes a container into the network, beside those that it is in: at once
// if it runs, and in its next lives. One that is in it already is
// ctor.ErrAlreadyExists; one that is detached, or has another's network or the
// host's, is ctor.ErrInvalid. Names and aliases are as with Join.
//
// A container that was made without a network keeps the resolv.conf of its image:
// unless that names a server, it finds others by their addresses only.
func (n *Network) Connect(ctx context.Context, c *container.Container, aliases ...string) error {
	err := lan.Connect(ctx, c, lan.Join{Network: n.lan, Aliases: slices.Clone(aliases)})
	if err == nil {
		n.tell(events.Connected, c)
	}
	return n.wrap(fmt.Sprintf("connect container %q to", c.Name()), err)
}

// Disconnect takes a container out of the network, also one that runs: its
// connections there don't go on. One that is not in it is ctor.ErrNotFound.
func (n *Network) Disconnect(ctx context.Context, c *container.Container) error {
	err := lan.Disconnect(ctx, c, n.lan)
	if err == nil {
		n.tell(events.Disconnected, c)
	}
	return n.wrap(fmt.Sprintf("disconnect container %q from", c.Name()), err)
}

// wrap names the operation and the network.
func (n *Network) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s network %q: %w", op, n.lan.Name, err)
}
