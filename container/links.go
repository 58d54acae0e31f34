package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Package network makes the networks, and reaches what is here by way of package
// lan.
func init() {
	lan.Joined = func(j lan.Join) any { return Network{joins: []lan.Join{j}} }
	lan.Connect = func(ctx context.Context, c any, j lan.Join) error { return c.(*Container).connect(ctx, j) }
	lan.Disconnect = func(ctx context.Context, c any, n *lan.Network) error { return c.(*Container).disconnect(ctx, n) }
}

// links are a container's networks, and what it has of them while it lives.
type links struct {
	// turn is held while they change, and while a life is linked.
	turn    sync.Mutex
	process *os.File  // the first, by a pidfd; nil: there is no life
	way     reach.Way // nil: none is open
	names   bool      // way only answers names, as it does for who goes by the host's routes
	left    bool      // the container is closed

	mu      sync.Mutex
	members []*lan.Member // by the number of the interface; nil: it is free
}

// all are the networks that the container is in.
func (l *links) all() []*lan.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.members), func(m *lan.Member) bool { return m == nil })
}

// add gives a member the first interface that is free.
func (l *links) add(m *lan.Member) (number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number = slices.Index(l.members, nil); number >= 0 {
		l.members[number] = m
		return number
	}
	l.members = append(l.members, m)
	return len(l.members) - 1
}

func (l *links) remove(m *lan.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[slices.Index(l.members, m)] = nil
}

// numbered are the members by the numbers of their interfaces.
func (l *links) numbered() map[int]*lan.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[int]*lan.Member{}
	for i, m := range l.members {
		if m != nil {
			all[i] = m
		}
	}
	return all
}

func interfaceName(number int) string { return fmt.Sprintf("eth%d", number) }

// link makes the links and the way out of the life whose first process is pid.
func (c *Container) link(pid int) (err error) {
	c.links.turn.Lock()
	defer c.links.turn.Unlock()
	process, err := c.e.Doors.Hold(pid)
	if err != nil {
		return err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	undo.Close(process)
	members := c.links.numbered()
	dial, err := c.dialer()
	if err != nil {
		return err
	}
	// The way out and the links don't need each other, and each waits for the kernel.
	var both errgroup.Group
	if len(members) > 0 || dial != nil {
		both.Go(func() error { return c.openWay(process) })
	}
	undo.Push(c.closeWay)
	both.Go(func() error {
		for i, m := range members {
			if err := m.Plug(process, interfaceName(i)); err != nil {
				return err
			}
			undo.Push(m.Unplug)
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return err
	}
	c.links.process = process
	return nil
}

// closeWay closes the way out of a life that was not linked: nothing goes by it yet.
func (c *Container) closeWay() error {
	way := c.links.way
	if c.links.way = nil; way == nil {
		return nil
	}
	return way.Close()
}

// unlink ends what link began, once the life has ended.
func (c *Container) unlink() error {
	c.links.turn.Lock()
	way, process := c.links.way, c.links.process
	c.links.way, c.links.process = nil, nil
	var errs []error
	for _, m := range c.links.all() {
		errs = append(errs, m.Unplug())
	}
	c.links.turn.Unlock()
	if way != nil { // it waits for dialers, which may ask for the container's networks
		errs = append(errs, way.Close())
	}
	if process != nil {
		process.Close()
	}
	return errors.Join(errs...)
}

// leaveNetworks gives up the names and addresses of a container that is closed.
func (c *Container) leaveNetworks() {
	_ = c.unlink() // of what has ended by now
	c.links.turn.Lock()
	defer c.links.turn.Unlock()
	c.links.left = true
	for _, m := range c.links.all() {
		c.links.remove(m)
		m.Forget()
	}
}

// connect takes the container into a network: at once if it lives, and in its
// later lives.
func (c *Container) connect(ctx context.Context, j lan.Join) error {
	return c.changeLinks(ctx, func(context.Context) error {
		switch {
		case c.detached():
			return invalid("a network is this program's, and a detached container outlives it")
		case len(c.network.whole) > 0:
			return invalid("it has %s", c.network.whole[0])
		case !c.e.Networks.Of(j.Network):
			return invalid("the network is another engine's")
		}
		if err := c.reconcile(j.Network); err != nil {
			return err
		}
		m, err := j.Network.Enter(c.ID(), c.Name(), j.Aliases)
		if err != nil {
			return err
		}
		number := c.links.add(m)
		if err := c.plug(m, number); err != nil {
			c.links.remove(m)
			return errors.Join(err, m.Leave())
		}
		return nil
	})
}

// reconcile finds out whether the container can go into one more network: a policy holds
// for all that it sends or for nothing.
func (c *Container) reconcile(n *lan.Network) error {
	routed := c.routed()
	policed := c.about.Out != nil || slices.ContainsFunc(c.links.all(), func(m *lan.Member) bool { return m.Network.Out != nil })
	switch {
	case n.Routed && policed || n.Out != nil && routed:
		return errPoliced
	case c.links.way == nil || routed:
	case n.Routed && !c.links.names:
		return invalid("it runs in networks without Config.Masquerade: it can be connected between two lives")
	case !n.Routed && c.links.names: // nothing of the policy would be asked
		return invalid("it began in a network with Config.Masquerade, which it has left: it can be connected between two lives")
	}
	return nil
}

// plug links a life that goes on to one more network.
func (c *Container) plug(m *lan.Member, number int) error {
	if c.links.process == nil {
		return nil
	}
	err := m.Plug(c.links.process, interfaceName(number))
	if errors.Is(err, unix.ESRCH) {
		return nil // it has just ended
	}
	if err != nil {
		return err
	}
	if c.links.way == nil {
		return c.openWay(c.links.process)
	}
	for _, a := range m.Addresses() {
		if err := c.links.way.Own(a); err != nil {
			return err
		}
	}
	return nil
}

// disconnect takes the container out of a network.
func (c *Container) disconnect(ctx context.Context, n *lan.Network) error {
	return c.changeLinks(ctx, func(context.Context) error {
		all := c.links.all()
		i := slices.IndexFunc(all, func(m *lan.Member) bool { return m.Network == n })
		if i < 0 {
			return fmt.Errorf("it is not in it: %w", errdefs.ErrNotFound)
		}
		c.links.remove(all[i])
		errs := []error{all[i].Leave()}
		if c.links.way != nil {
			for _, a := range all[i].Addresses() {
				if err := c.links.way.Disown(a); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
					errs = append(errs, err)
				}
			}
		}
		return errors.Join(errs...)
	})
}

// changeLinks is what every change of a container's networks, and of its way out,
// has around it.
func (c *Container) changeLinks(ctx context.Context, change func(context.Context) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c.links.turn.Lock()
	defer c.links.turn.Unlock()
	if c.links.left {
		return reach.ErrClosed
	}
	return engine.Cause(ctx, change(ctx))
}

// renameInNetworks has others find the container by another name: in all of its
// networks or in none. "" is that it has none but its id.
func (c *Container) renameInNetworks(name string) error {
	name = cmp.Or(name, c.ID())
	c.links.turn.Lock()
	defer c.links.turn.Unlock()
	all := c.links.all()
	for i, m := range all {
		if err := m.Rename(name); err != nil {
			for _, m := range all[:i] {
				err = errors.Join(err, m.Rename(c.Name()))
			}
			return err
		}
	}
	return nil
}

// addresses are the container's in its networks, by their names.
func (c *Container) addresses() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, m := range c.links.all() {
		all[m.Network.Name] = slices.Clone(m.Addresses())
	}
	return all
}
