package lan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// network is one whose router is not needed: no container is plugged in.
func network(subnets ...string) *Network {
	n := &Network{Name: "n", set: &Set{}, names: map[string]holder{}, members: map[*Member]struct{}{}, serving: map[*tie]struct{}{}}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		n.Subnets = append(n.Subnets, p)
		n.pools = append(n.pools, pool{subnet: p, last: p.Addr().Next()})
	}
	return n
}

// An address that was given back is given out again as late as can be; when none is
// left, that is the error, until one is given back.
func TestPool(t *testing.T) {
	for subnet, room := range map[string]int{"10.99.0.0/30": 1, "10.99.0.0/29": 5, "10.99.0.248/29": 5, "fd00::/126": 2, "fd00::fff8/125": 6} {
		p := netip.MustParsePrefix(subnet)
		pool := pool{subnet: p, last: p.Addr().Next()}
		taken := map[netip.Addr]bool{}
		take := func() (netip.Addr, error) {
			a, err := pool.take(func(a netip.Addr) bool { return taken[a] })
			if err == nil {
				taken[a] = true
			}
			return a, err
		}
		var given []netip.Addr
		for range room {
			a, err := take()
			require.NoError(t, err, subnet)
			require.True(t, p.Contains(a), "%s of %s", a, subnet)
			require.NotEqual(t, p.Addr(), a, "the subnet's own")
			require.NotEqual(t, p.Addr().Next(), a, "the router's")
			require.NotContains(t, given, a)
			given = append(given, a)
		}
		_, err := take()
		require.ErrorIs(t, err, errdefs.ErrUnavailable, subnet)
		require.ErrorContains(t, err, subnet)
		for _, a := range given {
			delete(taken, a)
		}
		for i, want := range given { // round again, in the same order
			a, err := take()
			require.NoError(t, err)
			require.Equal(t, want, a, "%d of %s", i, subnet)
			delete(taken, a)
		}
	}
}

// A subnet that is full takes no more containers, and what it had claimed for one
// more is free.
func TestFull(t *testing.T) {
	n := network("10.99.0.0/29", "fd00::/64")
	var members []*Member
	for i := range 5 {
		m, err := n.Enter(fmt.Sprint("id", i), fmt.Sprint("name", i), nil)
		require.NoError(t, err)
		require.Len(t, m.Addresses(), 2)
		members = append(members, m)
	}
	_, err := n.Enter("one", "more", []string{"alias"})
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, "10.99.0.0/29")
	require.Len(t, n.Seats(), 5)
	for _, name := range []string{"one", "more", "alias"} {
		_, known := n.Lookup(name)
		require.False(t, known, name)
	}
	at := members[2].Addresses()[0]
	members[2].Forget()
	m, err := n.Enter("one", "more", []string{"alias"})
	require.NoError(t, err)
	require.Equal(t, at, m.Addresses()[0])
	name, ok := n.At(at)
	require.True(t, ok)
	require.Equal(t, "more", name)
}

// A name is one member's, in any case of letters, whether it is a name, an id or an
// alias; what fails claims nothing.
func TestClaims(t *testing.T) {
	n := network("10.99.0.0/24")
	a, err := n.Enter("ida", "a", []string{"db", "a", "DB"})
	require.NoError(t, err, "its own twice")
	for i, names := range [][]string{{"b", "DB"}, {"A", "x"}, {"b", "IDA"}, {"b", "db."}} {
		if _, err := n.Enter("idb", names[0], names[1:]); i < 3 {
			require.ErrorIs(t, err, errdefs.ErrAlreadyExists, names)
			require.ErrorContains(t, err, "container a's")
		} else {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument, names)
		}
		_, known := n.Lookup("b")
		require.False(t, known)
	}
	_, err = n.Enter("ida", "other", nil)
	require.ErrorIs(t, err, errdefs.ErrAlreadyExists, "twice the same container")
	b, err := n.Enter("idb", "b", nil)
	require.NoError(t, err)
	require.ErrorIs(t, b.Rename("Db"), errdefs.ErrAlreadyExists)
	require.NoError(t, a.Rename("c"))
	_, known := n.Lookup("a")
	require.True(t, known, "it is an alias too")
	require.NoError(t, b.Rename("C2"))
	_, known = n.Lookup("b")
	require.False(t, known)
	at, known := n.Lookup("c2")
	require.True(t, known)
	require.Empty(t, at, "it does not run")
	for _, bad := range []string{"", "a b", "localhost", "192.0.2.1", "::1", "a..b", ".a", "ä", "x/y", string(make([]byte, 300))} {
		_, err := n.Enter("idc", "c3", []string{bad})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, bad)
	}
}

// What can't be a subnet is refused with the reason, and so is what another network
// has.
func TestSubnets(t *testing.T) {
	s := &Set{all: map[string]*Network{"n": network("10.99.0.0/16", "fd00:1::/48")}}
	for given, want := range map[string]string{
		"10.99.4.0/24": `network "n"`, "10.0.0.0/8": `network "n"`, "fd00:1:0:7::/64": `network "n"`,
		"10.98.0.1/24": "10.98.0.0/24", "10.98.0.0/31": "/30", "fd00:2::/127": "/126", "0.0.0.0/0": "too large", "2001::/16": "too large",
		"127.0.0.0/8": "can't be", "224.0.0.0/24": "can't be", "fe80::/64": "can't be", "198.18.4.0/24": "198.18.0.0/15", "::ffff:10.98.0.0/120": "IPv4",
	} {
		_, err := s.subnets([]netip.Prefix{netip.MustParsePrefix(given)}, nil)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, given)
		require.ErrorContains(t, err, want, given)
	}
	_, err := s.subnets([]netip.Prefix{{}}, nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, err = s.subnets([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24")}, nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	two := []netip.Prefix{netip.MustParsePrefix("10.98.0.0/24"), netip.MustParsePrefix("fd00:2::/64")}
	got, err := s.subnets(two, nil)
	require.NoError(t, err)
	require.Equal(t, two, got)
}

// Subnets are chosen beside those that are in use, one after the other, until none is
// left.
func TestChoose(t *testing.T) {
	s := &Set{all: map[string]*Network{}}
	var all []netip.Prefix
	for i := range 40 {
		chosen, err := s.subnets(nil, nil)
		require.NoError(t, err)
		n := network()
		n.Subnets = chosen
		s.all[fmt.Sprint(i)] = n
		for _, p := range chosen {
			require.NoError(t, usable(p))
			require.True(t, pool4.Overlaps(p) || pool6.Overlaps(p), "%s", p)
			require.False(t, slices.ContainsFunc(all, p.Overlaps), "%s", p)
		}
		all = append(all, chosen...)
	}

	pool, used := netip.MustParsePrefix("10.240.0.0/20"), map[netip.Prefix]bool{}
	free := func(p netip.Prefix) bool { return !used[p] }
	for _, want := range []string{"10.240.0.0/22", "10.240.4.0/22", "10.240.8.0/22", "10.240.12.0/22"} {
		p, ok := firstFree(pool, 22, free)
		require.True(t, ok)
		require.Equal(t, want, p.String())
		used[p] = true
	}
	_, ok := firstFree(pool, 22, free)
	require.False(t, ok)
	delete(used, netip.MustParsePrefix("10.240.8.0/22"))
	p, ok := firstFree(pool, 22, free)
	require.True(t, ok)
	require.Equal(t, "10.240.8.0/22", p.String())
	p, ok = firstFree(pool6, bits6, func(netip.Prefix) bool { return true })
	require.True(t, ok)
	require.Equal(t, "fd63:746f:7200:1::/64", p.String(), "the first is package wayout's")
}
