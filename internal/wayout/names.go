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
// another's. There are at most mostNames, of mostLetters together: some 8 MiB.
type names struct {
	neighbours Neighbours // nil: there are none
	real       bool       // a name outside has its own addresses, and none stands for it

	mu      sync.Mutex
	all     []string
	places  map[string]uint32 // in all
	letters int
}

// firstName is where addresses of names begin: before it are this package's own.
var firstName = netip.MustParseAddr("198.18.1.0")

// address gives the address that stands for a name. It is false when there are
// too many.
func (n *names) address(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.places[name]; ok {
		return nth(i), true
	}
	if len(n.all) >= mostNames || n.letters+len(name) > mostLetters {
		return netip.Addr{}, false
	}
	if n.places == nil {
		n.places = map[string]uint32{}
	}
	i := uint32(len(n.all))
	name = strings.Clone(name) // and not what it was cut from
	n.all, n.places[name], n.letters = append(n.all, name), i, n.letters+len(name)
	return nth(i), true
}

// name gives what an address stands for.
func (n *names) name(a netip.Addr) (string, bool) {
	if !a.Is4() || a.Less(firstName) {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := number(a) - number(firstName); i < uint32(len(n.all)) {
		return n.all[i], true
	}
	return "", false
}

// nth counts the addresses of names.
func nth(i uint32) netip.Addr {
	v := number(firstName) + i
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
