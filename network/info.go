package network

import (
	"maps"
	"net/netip"
	"slices"
)

// Info is what a network tells about itself at a moment.
type Info struct {
	Name       string            // as Network.Name gives it
	Subnets    []netip.Prefix    // as given in Config, or chosen
	Labels     map[string]string // as given in Config; the caller's to change
	Internal   bool              // its containers get nowhere else by it
	Containers []Member          // in the order of their names
}

// Member is a container in a network, running or not.
type Member struct {
	ID        string       // of the container
	Name      string       // of the container, or its id
	Aliases   []string     // as given to Join or Connect
	Addresses []netip.Addr // one in each of the network's subnets
}

// Info tells what the network is like now, and who is in it.
func (n *Network) Info() Info {
	i := Info{Name: n.lan.Name, Subnets: slices.Clone(n.lan.Subnets), Labels: maps.Clone(n.lan.Labels), Internal: n.lan.Out == nil && !n.lan.Routed}
	for _, m := range n.lan.Seats() {
		i.Containers = append(i.Containers, Member(m))
	}
	return i
}
