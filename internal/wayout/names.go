package wayout

import (
	"net/netip"
	"strings"
	"sync"
)

// reserved are the addresses that stand for names.
var reserved = netip.MustParsePrefix("198.18.0.0/15")

// names are what a container has looked up. An address stands for one name for
// as long as the way is open: what a container remembers of a name is never
// another's.
type names struct {
	neighbours Neighbours // nil: there are none

	mu     sync.Mutex
	byName map[string]netip.Addr
	byAddr map[netip.Addr]string
}

// mostNames bounds them. At some 150 bytes each that is 10 MB.
const mostNames = 1 << 16

// firstName is where addresses of names begin: before it are this package's own.
var firstName = netip.MustParseAddr("198.18.1.0")

// address gives the address that stands for a name. It is false when there are
// too many.
func (n *names) address(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.byName[name]; ok {
		return a, true
	}
	if len(n.byName) >= mostNames {
		return netip.Addr{}, false
	}
	if n.byName == nil {
		n.byName, n.byAddr = map[string]netip.Addr{}, map[netip.Addr]string{}
	}
	a := nth(firstName, len(n.byName))
	n.byName[name], n.byAddr[a] = a, name
	return a, true
}

// name gives what an address stands for.
func (n *names) name(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, ok := n.byAddr[a]
	return name, ok
}

// nth counts addresses.
func nth(from netip.Addr, i int) netip.Addr {
	b := from.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(i)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
