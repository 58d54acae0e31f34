package links

import (
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
)

// change is what every change of the links has around it.
func (l *Links) change(do func() error) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.left {
		return reach.ErrClosed
	}
	return do()
}

// Connect takes the container into a network: at once if it lives, and in its
// later lives.
func (l *Links) Connect(j lan.Join) error {
	return l.change(func() error {
		switch {
		case l.about.Detached:
			return errOutlives
		case len(l.plan.whole) > 0:
			return invalid("it has %s", l.plan.whole[0])
		case !l.e.Networks.Of(j.Network):
			return invalid("the network is another engine's")
		}
		if err := l.reconcile(j.Network); err != nil {
			return err
		}
		m, err := j.Network.Enter(l.c.ID(), l.c.Name(), j.Aliases)
		if err != nil {
			return err
		}
		number := l.add(m)
		if err := l.plug(m, number); err != nil {
			l.remove(m)
			return errors.Join(err, m.Leave())
		}
		return nil
	})
}

// reconcile finds out whether the container can go into one more network: a policy holds
// for all that it sends or for nothing.
func (l *Links) reconcile(n *lan.Network) error {
	routed := l.routed()
	policed := l.about.Out != nil || slices.ContainsFunc(l.all(), func(m *lan.Member) bool { return m.Network.Out != nil })
	switch {
	case n.Routed && policed || n.Out != nil && routed:
		return errPoliced
	case l.way == nil || routed:
	case n.Routed && !l.names:
		return invalid("it runs in networks without Config.Masquerade: it can be connected between two lives")
	case !n.Routed && l.names: // nothing of the policy would be asked
		return invalid("it began in a network with Config.Masquerade, which it has left: it can be connected between two lives")
	}
	return nil
}

// plug links a life that goes on to one more network.
func (l *Links) plug(m *lan.Member, number int) error {
	if l.process == nil {
		return nil
	}
	err := m.Plug(l.process, interfaceName(number))
	if errors.Is(err, unix.ESRCH) {
		return nil // it has just ended
	}
	if err != nil {
		return err
	}
	if l.way == nil {
		return l.openWay(l.process)
	}
	for _, a := range m.Addresses() {
		if err := l.way.Own(a); err != nil {
			return err
		}
	}
	return nil
}

// Disconnect takes the container out of a network.
func (l *Links) Disconnect(n *lan.Network) error {
	return l.change(func() error {
		all := l.all()
		i := slices.IndexFunc(all, func(m *lan.Member) bool { return m.Network == n })
		if i < 0 {
			return fmt.Errorf("it is not in it: %w", errdefs.ErrNotFound)
		}
		l.remove(all[i])
		errs := []error{all[i].Leave()}
		if l.way != nil {
			for _, a := range all[i].Addresses() {
				if err := l.way.Disown(a); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
					errs = append(errs, err)
				}
			}
		}
		return errors.Join(errs...)
	})
}

// Rename has others find the container by another name: in all of its networks or in
// none.
func (l *Links) Rename(name string) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	all := l.all()
	for i, m := range all {
		if err := m.Rename(name); err != nil {
			for _, m := range all[:i] {
				err = errors.Join(err, m.Rename(l.c.Name()))
			}
			return err
		}
	}
	return nil
}
