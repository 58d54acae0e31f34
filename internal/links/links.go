// Package links is what a container has of networks, over all its lives: the networks
// that it is in, its way out, and the ports that are published of it.
//
// A [Plan] is what its configuration says of that, before there is a container. Its
// [Links] are there as long as the container: they keep its names and addresses between
// two lives, and link each life anew, since the kernel's part of a link ends with the
// first process. A container enters and leaves networks while it runs or between two
// lives; that, and the linking of a life, take turns.
//
// Who is in a network is package lan's business, and what needs privilege over the
// container is behind the doors of package reach. Here is what one container has of
// both.
package links

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/unwind"
)

// A Container is what its links must know of the container.
type Container interface {
	// ID is its own in the engine, and Name what it is called now: the id, where it
	// has no other name.
	ID() string
	Name() string

	// Dial connects to an address inside it.
	Dial(ctx context.Context, network, address string) (net.Conn, error)

	// Offer has its runtime find its network at a path, until done is called.
	Offer(ctx context.Context, at string) (done func() error, err error)
}

// Links are those of one container.
type Links struct {
	e     *engine.Engine
	c     Container
	about record.Record                 // as the container was made
	plan  Plan                          // that it was made with, by this program
	own   atomic.Pointer[egress.Dialer] // its own way out; nil: what the record says
	ports []published

	// turn is held while the links change, and while a life is linked.
	turn    sync.Mutex
	process *os.File  // the first, by a pidfd; nil: there is no life
	way     reach.Way // nil: none is open
	names   bool      // way only answers names, as for a container that goes by the host's routes
	left    bool      // the container is closed

	mu      sync.Mutex
	members []*lan.Member // by the number of the interface; nil: it is free
}

// New gives the links of a container of which a record tells.
func New(e *engine.Engine, c Container, about record.Record) *Links {
	return &Links{e: e, c: c, about: about}
}

// Take takes over what a plan has made of a container: its way out, and its
// memberships as [Plan.Enter] gives them. It is called once, before the first life.
func (l *Links) Take(p Plan, members []*lan.Member) {
	l.plan, l.members = p, members
	if d := p.Out; d != nil {
		l.own.Store(&d)
	}
}

func (l *Links) dir() string { return l.e.Dir(l.c.ID()) }

// all are the networks that the container is in.
func (l *Links) all() []*lan.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.members), func(m *lan.Member) bool { return m == nil })
}

// add gives a member the first interface that is free.
func (l *Links) add(m *lan.Member) (number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number = slices.Index(l.members, nil); number >= 0 {
		l.members[number] = m
		return number
	}
	l.members = append(l.members, m)
	return len(l.members) - 1
}

func (l *Links) remove(m *lan.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[slices.Index(l.members, m)] = nil
}

// numbered are the members by the numbers of their interfaces; nil: one is free.
func (l *Links) numbered() []*lan.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.members)
}

func interfaceName(number int) string { return fmt.Sprintf("eth%d", number) }

// Addresses are the container's in its networks, by their names.
func (l *Links) Addresses() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, m := range l.all() {
		all[m.Network.Name] = slices.Clone(m.Addresses())
	}
	return all
}

// Begin makes the links and the way out of the life whose first process is pid.
func (l *Links) Begin(pid int) (err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	process, err := l.e.Doors.Hold(pid)
	if err != nil {
		return err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	undo.Close(process)
	members := l.numbered()
	dial, err := l.dialer()
	if err != nil {
		return err
	}
	// The way out and the links don't need each other, and each waits for the kernel.
	var both errgroup.Group
	if len(l.all()) > 0 || dial != nil {
		both.Go(func() error { return l.openWay(process) })
	}
	undo.Push(l.closeWay)
	both.Go(func() error {
		for i, m := range members { // in their order, which is that of the kernel's lists
			if m == nil {
				continue
			}
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
	l.process = process
	return nil
}

// closeWay closes the way out of a life that was not linked: nothing goes by it yet.
func (l *Links) closeWay() error {
	way := l.way
	if l.way = nil; way == nil {
		return nil
	}
	return way.Close()
}

// End ends what Begin began, once the life has ended.
func (l *Links) End() error {
	l.turn.Lock()
	way, process := l.way, l.process
	l.way, l.process = nil, nil
	var errs []error
	for _, m := range l.all() {
		errs = append(errs, m.Unplug())
	}
	l.turn.Unlock()
	if way != nil { // it waits for dialers, which may ask for the container's networks
		errs = append(errs, way.Close())
	}
	if process != nil {
		process.Close()
	}
	return errors.Join(errs...)
}

// Leave gives up the names and addresses of a container that is closed.
func (l *Links) Leave() {
	_ = l.End() // of what has ended by now
	l.turn.Lock()
	defer l.turn.Unlock()
	l.left = true
	for _, m := range l.all() {
		l.remove(m)
		m.Forget()
	}
}

// Shared does something while the runtime finds the network that the container shares
// with another one, if it does.
func (l *Links) Shared(ctx context.Context, do func() error) error {
	other := l.plan.share
	if other == nil {
		return do()
	}
	done, err := other.c.Offer(ctx, sharedNetwork(l.dir()))
	if err != nil {
		return fmt.Errorf("network of container %q: %w", other.c.Name(), err)
	}
	return errors.Join(do(), done())
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
