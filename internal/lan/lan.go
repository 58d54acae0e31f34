// Package lan is who is in which network of an engine, by which names and at which
// addresses. Packets are the router's business (package router, behind package
// reach).
//
// A container is a member of a network from when it is made until it is closed, or
// taken out: so long its names and its address are its own. Others find it by name
// while it runs.
package lan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/reach"
)

// A Network is one of an engine's, until it is removed.
type Network struct {
	Name    string
	Subnets []netip.Prefix
	Labels  map[string]string
	Created time.Time
	Out     egress.Dialer // nil: none of its members gets out by it
	Routed  bool          // they do by the host's own network
	Router  reach.Router

	set *Set

	mu      sync.Mutex
	removed bool
	names   map[string]holder
	members map[*Member]struct{}
	serving map[*tie]struct{} // listeners of this program
	pools   []pool            // of addresses, one for each subnet
}

// A Set is the networks of an engine. The zero value is ready.
type Set struct {
	mu     sync.Mutex
	closed bool
	all    map[string]*Network
}

// Open makes a network and its router. Subnets are checked, and chosen if there
// are none.
func (s *Set) Open(n *Network, doors reach.Doors) error {
	if err := identifiers.Validate(n.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	// One at a time: none takes a name or a subnet while another is being made.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrRemoved
	}
	if s.all[n.Name] != nil {
		return fmt.Errorf("the name is taken: %w", errdefs.ErrAlreadyExists)
	}
	var taken []netip.Prefix
	if n.Routed {
		taken = routes()
	}
	var err error
	if n.Subnets, err = s.subnets(n.Subnets, taken); err != nil {
		return err
	}
	if n.Routed {
		if err := apart(n.Subnets, taken); err != nil {
			return err
		}
	}
	var own []netip.Prefix
	for _, p := range n.Subnets {
		first := p.Addr().Next()
		own = append(own, netip.PrefixFrom(first, p.Bits()))
		n.pools = append(n.pools, pool{subnet: p, last: first})
	}
	if n.Router, err = doors.Router(own); err != nil {
		return err
	}
	if n.Routed {
		if err := n.Router.Masquerade(); err != nil {
			return errors.Join(err, n.Router.Close())
		}
	}
	n.set, n.names, n.members = s, map[string]holder{}, map[*Member]struct{}{}
	n.serving = map[*tie]struct{}{}
	if s.all == nil {
		s.all = map[string]*Network{}
	}
	s.all[n.Name] = n
	return nil
}

// Get finds a network. Where there is none it is nil.
func (s *Set) Get(name string) *Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name]
}

// List gives all of them, by name.
func (s *Set) List() []*Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.all), func(a, b *Network) int { return cmp.Compare(a.Name, b.Name) })
}

// Close ends all of them, with containers in them or without.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var first error
	for _, n := range s.List() {
		n.mu.Lock()
		n.removed = true
		n.mu.Unlock()
		first = cmp.Or(first, n.end())
	}
	return first
}

// Of tells whether a network is one of the set's.
func (s *Set) Of(n *Network) bool { return n.set == s }

// Used tells whether something is in the network.
func (n *Network) Used() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.members) > 0
}

// ErrRemoved is the error of a network that is no more.
var ErrRemoved = fmt.Errorf("it was removed: %w", errdefs.ErrNotFound)

// Remove ends the network, if nothing is in it. now tells whether this call has.
func (n *Network) Remove() (now bool, err error) {
	n.mu.Lock()
	if n.removed {
		n.mu.Unlock()
		return false, nil
	}
	if len(n.members) > 0 {
		var who []string
		for m := range n.members {
			who = append(who, m.name)
		}
		n.mu.Unlock()
		slices.Sort(who)
		if len(who) > 5 {
			who = append(who[:5], "...")
		}
		return false, fmt.Errorf("containers are in it (%s): close or disconnect them: %w", strings.Join(who, ", "), errdefs.ErrInvalidArgument)
	}
	n.removed = true
	n.mu.Unlock()
	return true, n.end()
}

// end closes the router, and forgets the network.
func (n *Network) end() error {
	n.mu.Lock()
	serving := slices.Collect(maps.Keys(n.serving))
	n.mu.Unlock()
	for _, t := range serving {
		_ = t.close() // of a listener
	}
	err := n.Router.Close()
	n.set.mu.Lock()
	defer n.set.mu.Unlock()
	delete(n.set.all, n.Name)
	return err
}
