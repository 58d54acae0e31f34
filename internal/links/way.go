package links

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/spec"
)

// SetOut changes what makes the container's connections from now on. nil refuses all.
func (l *Links) SetOut(ctx context.Context, d egress.Dialer) error {
	if d == nil {
		d = egress.Allow()
	}
	return l.change(func() error {
		switch {
		case l.about.Out == nil:
			return invalid("it was made without a way out")
		case l.about.Detached:
			return invalid("it is detached, and its connections are made by another process")
		}
		if err := egress.Check(d); err != nil {
			return err
		}
		if egress.Answers(d) && !spec.Trusts(l.dir()) {
			return invalid("it trusts no authority of the engine: make it with a way out that answers TLS")
		}
		if l.about.Kept {
			out := Plan{Out: d}.Record()
			if _, err := l.e.Note(ctx, l.c.ID(), func(r *record.Record) { r.Out = out }); err != nil {
				return err
			}
		}
		l.own.Store(&d)
		return nil
	})
}

// Check finds out whether the way out can be made of the next life.
func (l *Links) Check() error {
	_, err := l.dialer()
	return err
}

// dialer is what makes the container's connections now: its own way out, else that
// of the first of its networks which has one. nil is none.
func (l *Links) dialer() (egress.Dialer, error) {
	if d := l.own.Load(); d != nil {
		return *d, nil
	}
	if l.about.Out == nil {
		for _, m := range l.all() {
			if m.Network.Out != nil {
				return m.Network.Out, nil
			}
		}
		return nil, nil
	}
	if l.about.Out.Policy == nil {
		return nil, invalid("its way out was a function of the program that made it: give it one by SetOut, and start it then")
	}
	d, err := egress.Unmarshal(l.about.Out.Policy)
	if err != nil {
		return nil, err
	}
	l.own.CompareAndSwap(nil, &d)
	return *l.own.Load(), nil
}

// routed tells whether the container's connections go by its routes, to the host's
// network: it has no way out, and is in a network that does.
func (l *Links) routed() bool {
	d, err := l.dialer()
	return d == nil && err == nil && slices.ContainsFunc(l.all(), func(m *lan.Member) bool { return m.Network.Routed })
}

// openWay makes the way out of a life, by which it also asks for its neighbours'
// names. The caller has the turn.
func (l *Links) openWay(process *os.File) error {
	ca, err := l.authority()
	if err != nil {
		return err
	}
	if l.names = l.routed(); l.names {
		l.way, err = l.e.Doors.Names(process, neighbours{l})
		return err
	}
	o := outside{l, ca}
	l.way, err = l.e.Doors.Out(process, o.dial, o.forwards, neighbours{l})
	return err
}

// Delegate has another process make the way out of a life that outlives this
// program, if it has one.
func (l *Links) Delegate(pid int) error {
	if l.about.Out == nil {
		return nil
	}
	process, err := l.e.Doors.Hold(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	return l.e.Doors.Porter(process, l.c.ID(), l.about.Out.Policy, l.dir())
}

// authority is the engine's, if the container trusts it; nil: it does not. Its files
// may have that of an earlier program's engine.
func (l *Links) authority() (*egress.CA, error) {
	if !spec.Trusts(l.dir()) {
		return nil, nil
	}
	ca, err := l.e.CA()
	if err != nil {
		return nil, err
	}
	return ca, spec.Retrust(l.dir(), ca.Certificate())
}

// outside is what a container's way out asks the program for.
type outside struct {
	l  *Links
	ca *egress.CA
}

// dial makes a connection.
func (o outside) dial(ctx context.Context, network, address string, from netip.AddrPort) (_ net.Conn, err error) {
	defer o.survive(ctx, &err, "dial %s %s", network, address)
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
	defer o.survive(ctx, &err, "look up %s", name)
	d, err := o.dialer()
	return err == nil && d != nil && egress.Forwards(o.with(ctx, from), d, name)
}

// dialer is the container's, which the engine is told of if it asks.
func (o outside) dialer() (egress.Dialer, error) {
	d, err := o.l.dialer()
	if all := &o.l.e.Decisions; d != nil && all.Asked() {
		d = egress.Watch(d, all.Tell)
	}
	return d, err
}

// with tells a dialer who asks.
func (o outside) with(ctx context.Context, from netip.AddrPort) context.Context {
	return egress.WithSource(ctx, egress.Source{Container: o.l.c.ID(), Addr: from, CA: o.ca})
}

// survive is deferred: what a container asks for must not end the program. It
// makes an error of a panic, and the engine's Logger tells of it.
func (o outside) survive(ctx context.Context, err *error, doing string, args ...any) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s for container %s: panic: %v", fmt.Sprintf(doing, args...), o.l.c.ID(), p)
		log.G(o.l.e.Context(ctx)).WithError(*err).Errorf("the way out panicked\n%s", debug.Stack())
	}
}
