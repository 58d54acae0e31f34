package lan

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/reach"
)

// A Member is a container in a network.
type Member struct {
	Network *Network
	ID      string   // the container's
	Aliases []string // beside its name and its id

	at   []netip.Addr // one for each subnet
	name string       // the container's, now
	link reach.Link   // nil: it does not run
}

// holder is whose a name is: a member's, or this program's, by so many listeners.
type holder struct {
	member    *Member
	listeners int
}

// Enter makes a container a member: its name, its id and its aliases are its own
// from then on, and an address in each subnet.
func (n *Network) Enter(id, name string, aliases []string) (*Member, error) {
	for _, a := range aliases {
		if err := checkAlias(a); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.removed {
		return nil, ErrRemoved
	}
	m := &Member{Network: n, ID: id, Aliases: slices.Clone(aliases), name: name}
	for other := range n.members {
		if other.ID == id {
			return nil, fmt.Errorf("the container is in it already: %w", errdefs.ErrAlreadyExists)
		}
	}
	for _, name := range m.names() {
		if err := n.claim(name, m); err != nil {
			n.release(m)
			return nil, err
		}
	}
	for i := range n.pools {
		a, err := n.pools[i].take(n.taken)
		if err != nil {
			n.release(m)
			return nil, err
		}
		m.at = append(m.at, a)
	}
	n.members[m] = struct{}{}
	return m, nil
}

// names are what the member is found by.
func (m *Member) names() []string { return append([]string{m.ID, m.name}, m.Aliases...) }

// key is what a name is looked up by: DNS knows no case.
func key(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// claim makes a name a member's. One that it has already is no error.
func (n *Network) claim(name string, m *Member) error {
	if has, ok := n.names[key(name)]; ok && has.member != m {
		whose := "this program's"
		if has.member != nil {
			whose = "container " + has.member.name + "'s"
		}
		return fmt.Errorf("the name %q is %s in network %q: %w", name, whose, n.Name, errdefs.ErrAlreadyExists)
	}
	n.names[key(name)] = holder{member: m}
	return nil
}

// release gives back all names of a member.
func (n *Network) release(m *Member) {
	for name, has := range n.names {
		if has.member == m {
			delete(n.names, name)
		}
	}
}

func (n *Network) taken(a netip.Addr) bool {
	for m := range n.members {
		if slices.Contains(m.at, a) {
			return true
		}
	}
	return false
}

// checkAlias finds what no name can be.
func checkAlias(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	bad := name == "" || len(name) > 253 || strings.Trim(name, letters) != "" || key(name) == "localhost"
	for label := range strings.SplitSeq(name, ".") {
		bad = bad || label == "" || len(label) > 63
	}
	if _, err := netip.ParseAddr(name); err == nil || bad {
		return fmt.Errorf("alias %q: it must be a name of letters, digits, '-', '_' and '.': %w", name, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Addresses are the member's, one in each subnet.
func (m *Member) Addresses() []netip.Addr { return m.at }

// Plug links the container with this first process to the network, as an interface
// with a name. From then on it is found.
func (m *Member) Plug(process *os.File, name string) error {
	l, err := m.Network.Router.Join(process, name, m.at)
	if err != nil {
		return fmt.Errorf("network %q: %w", m.Network.Name, err)
	}
	m.Network.mu.Lock()
	defer m.Network.mu.Unlock()
	m.link = l
	return nil
}

// Unplug ends what Plug began, once the container has ended.
func (m *Member) Unplug() error { return m.unplug(reach.Link.Close) }

// Leave takes the container out of the network, also one that runs: its names and
// its addresses are free for others.
func (m *Member) Leave() error {
	err := m.unplug(reach.Link.Cut)
	m.Forget()
	return err
}

// Forget gives up what Enter has claimed, of a container that is no more.
func (m *Member) Forget() {
	n := m.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.release(m)
	delete(n.members, m)
}

func (m *Member) unplug(end func(reach.Link) error) error {
	m.Network.mu.Lock()
	l := m.link
	m.link = nil
	m.Network.mu.Unlock()
	if l == nil {
		return nil
	}
	return end(l)
}

// Rename has the container found by another name, and by the old one no more.
func (m *Member) Rename(name string) error {
	n := m.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.claim(name, m); err != nil {
		return err
	}
	old := m.name
	m.name = name
	if !slices.ContainsFunc(m.names(), func(s string) bool { return key(s) == key(old) }) {
		delete(n.names, key(old))
	}
	return nil
}

// Lookup gives the addresses of the container that has a name in the network. While it
// does not run there are none.
func (n *Network) Lookup(name string) (at []netip.Addr, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	has, ok := n.names[key(name)]
	switch {
	case !ok:
		return nil, false
	case has.member == nil:
		return n.own(), true
	case has.member.link == nil:
		return nil, true
	}
	return has.member.at, true
}

// own are the program's addresses in the network.
func (n *Network) own() (own []netip.Addr) {
	for _, p := range n.Subnets {
		own = append(own, p.Addr().Next())
	}
	return own
}

// At gives the name of the container at an address.
func (n *Network) At(a netip.Addr) (name string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for m := range n.members {
		if slices.Contains(m.at, a) {
			return m.name, true
		}
	}
	return "", false
}

// A Seat is what there is to tell of a member.
type Seat struct {
	ID        string
	Name      string
	Aliases   []string
	Addresses []netip.Addr
}

// Seats are the members, by name.
func (n *Network) Seats() (all []Seat) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for m := range n.members {
		all = append(all, Seat{m.ID, m.name, slices.Clone(m.Aliases), slices.Clone(m.at)})
	}
	slices.SortFunc(all, func(a, b Seat) int { return strings.Compare(a.Name, b.Name) })
	return all
}
