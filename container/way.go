package container

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/spec"
)

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
	return c.wrap("set the way out of", c.changeLinks(ctx, func(ctx context.Context) error { return c.setOut(ctx, d) }))
}

func (c *Container) setOut(ctx context.Context, d egress.Dialer) error {
	if d == nil {
		d = egress.Allow()
	}
	switch {
	case c.about.Out == nil:
		return invalid("it was made without a way out")
	case c.detached():
		return invalid("it is detached, and its connections are made by another process")
	}
	if err := egress.Check(d); err != nil {
		return err
	}
	if egress.Answers(d) && !spec.Trusts(c.e.Dir(c.ID())) {
		return invalid("it trusts no authority of the engine: make it with a way out that answers TLS")
	}
	if c.kept() {
		out := Out(d).record()
		if _, err := c.e.Note(ctx, c.ID(), func(r *record.Record) { r.Out = out }); err != nil {
			return err
		}
	}
	c.out.Store(&d)
	return nil
}

// dialer is what makes the container's connections now: its own way out, else that
// of the first of its networks which has one. nil is none.
func (c *Container) dialer() (egress.Dialer, error) {
	if d := c.out.Load(); d != nil {
		return *d, nil
	}
	if c.about.Out == nil {
		for _, m := range c.links.all() {
			if m.Network.Out != nil {
				return m.Network.Out, nil
			}
		}
		return nil, nil
	}
	if c.about.Out.Policy == nil {
		return nil, invalid("its way out was a function of the program that made it: give it one by SetOut, and start it then")
	}
	d, err := egress.Unmarshal(c.about.Out.Policy)
	if err != nil {
		return nil, err
	}
	c.out.CompareAndSwap(nil, &d)
	return *c.out.Load(), nil
}

// routed tells whether the container's connections go by its routes, to the host's
// network: it has no way out, and is in a network that does.
func (c *Container) routed() bool {
	d, err := c.dialer()
	return d == nil && err == nil && slices.ContainsFunc(c.links.all(), func(m *lan.Member) bool { return m.Network.Routed })
}

// openWay makes the way out of a life, by which it also asks for its neighbours'
// names. The caller has the links' turn.
func (c *Container) openWay(process *os.File) error {
	ca, err := c.authority()
	if err != nil {
		return err
	}
	if c.links.names = c.routed(); c.links.names {
		c.links.way, err = c.e.Doors.Names(process, neighbours{c})
		return err
	}
	o := outside{c, ca}
	c.links.way, err = c.e.Doors.Out(process, o.dial, o.forwards, neighbours{c})
	return err
}

// delegate has another process make the way out of a life that outlives this
// program, if it has one.
func (c *Container) delegate(pid int) error {
	if c.about.Out == nil {
		return nil
	}
	process, err := c.e.Doors.Hold(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	return c.e.Doors.Porter(process, c.ID(), c.about.Out.Policy, c.e.Dir(c.ID()))
}

// authority is the engine's, if the container trusts it; nil: it does not. Its files
// may have that of an earlier program's engine.
func (c *Container) authority() (*egress.CA, error) {
	dir := c.e.Dir(c.ID())
	if !spec.Trusts(dir) {
		return nil, nil
	}
	ca, err := c.e.CA()
	if err != nil {
		return nil, err
	}
	return ca, spec.Retrust(dir, ca.Certificate())
}

// outside is what a container's way out asks the program for.
type outside struct {
	c  *Container
	ca *egress.CA
}

// dial makes a connection.
func (o outside) dial(ctx context.Context, network, address string, from netip.AddrPort) (_ net.Conn, err error) {
	defer o.c.survive(ctx, &err, "dial %s %s", network, address)
	d, err := o.dialer()
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, unix.EHOSTUNREACH
	}
	return d(o.with(ctx, from), network, address)
}

// forwards tells whether a name's records may be looked up.
func (o outside) forwards(ctx context.Context, name string, from netip.AddrPort) bool {
	var err error
	defer o.c.survive(ctx, &err, "look up %s", name)
	d, err := o.dialer()
	return err == nil && d != nil && egress.Forwards(o.with(ctx, from), d, name)
}

// dialer is the container's, which the engine is told of if it asks.
func (o outside) dialer() (egress.Dialer, error) {
	d, err := o.c.dialer()
	if all := &o.c.e.Decisions; d != nil && all.Asked() {
		d = egress.Watch(d, all.Tell)
	}
	return d, err
}

// with tells a dialer who asks.
func (o outside) with(ctx context.Context, from netip.AddrPort) context.Context {
	return egress.WithSource(ctx, egress.Source{Container: o.c.ID(), Addr: from, CA: o.ca})
}

// survive is deferred: what a container asks for must not end the program. It
// makes an error of a panic, and the engine's Logger tells of it.
func (c *Container) survive(ctx context.Context, err *error, doing string, args ...any) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s for container %s: panic: %v", fmt.Sprintf(doing, args...), c.ID(), p)
		log.G(c.e.Context(ctx)).WithError(*err).Errorf("the way out panicked\n%s", debug.Stack())
	}
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
func (n neighbours) Only() bool {
	d, _ := n.c.dialer()
	return d == nil && !n.c.routed()
}
