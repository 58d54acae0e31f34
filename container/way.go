package container

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"

	"github.com/containerd/log"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
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
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("set the way out of", err)
	}
	defer leave()
	return c.wrap("set the way out of", engine.Cause(ctx, c.setOut(ctx, d)))
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

// dialer is what makes the connections; nil without a way out.
func (c *Container) dialer() (egress.Dialer, error) {
	if d := c.out.Load(); d != nil {
		return *d, nil
	}
	if c.about.Out == nil {
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

// openWay makes the way out of the life whose first process is pid, if it has
// one.
func (c *Container) openWay(pid int) error {
	d, err := c.dialer()
	switch {
	case d == nil || err != nil:
		return err
	case c.detached():
		return c.e.Doors.Porter(pid, c.ID(), c.about.Out.Policy, c.e.Dir(c.ID()))
	}
	source, err := c.source()
	if err != nil {
		return err
	}
	with := func(ctx context.Context, from netip.AddrPort) context.Context {
		s := source
		s.Addr = from
		return egress.WithSource(ctx, s)
	}
	w, err := c.e.Doors.Out(pid, func(ctx context.Context, network, address string, from netip.AddrPort) (_ net.Conn, err error) {
		defer c.survive(ctx, &err, "dial %s %s", network, address)
		return (*c.out.Load())(with(ctx, from), network, address)
	}, func(ctx context.Context, name string, from netip.AddrPort) bool {
		var err error
		defer c.survive(ctx, &err, "look up %s", name)
		return egress.Forwards(with(ctx, from), *c.out.Load(), name)
	})
	if err != nil {
		return err
	}
	c.way.Store(&w)
	return nil
}

// survive is deferred: what a container asks for must not end the program. It
// makes an error of a panic, and the engine's Logger tells of it.
func (c *Container) survive(ctx context.Context, err *error, doing string, args ...any) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s for container %s: panic: %v", fmt.Sprintf(doing, args...), c.ID(), p)
		log.G(c.e.Context(ctx)).WithError(*err).Errorf("the way out panicked\n%s", debug.Stack())
	}
}

// source is what the container's dialers are told of it. Its files may have the
// authority of an earlier program's engine.
func (c *Container) source() (egress.Source, error) {
	s := egress.Source{Container: c.ID()}
	dir := c.e.Dir(c.ID())
	if !spec.Trusts(dir) {
		return s, nil
	}
	ca, err := c.e.CA()
	if err != nil {
		return s, err
	}
	s.CA = ca
	return s, spec.Retrust(dir, ca.Certificate())
}

// closeWay ends the way out, if there is one.
func (c *Container) closeWay() error {
	if w := c.way.Swap(nil); w != nil {
		return (*w).Close()
	}
	return nil
}
