// Package userns tells what the user namespace of this process is: whether it is
// the host's, and which users and groups there are in it.
//
// The shim links it, so it imports nothing.
package userns

import (
	"bytes"
	"math"
	"os"
	"sync"
)

// Range is one of a mapping's, user_namespaces(7): Size ids from Inside on are, in
// the namespace above, those from Outside on.
type Range struct{ Inside, Outside, Size uint32 }

// Map is who there is in a user namespace.
type Map struct {
	Users, Groups []Range
	Setgroups     bool // a process may leave the groups that it is in, and join others
}

// Own is that of this process, which can't change any more.
var Own = sync.OnceValue(func() Map {
	users, err1 := os.ReadFile("/proc/self/uid_map")
	groups, err2 := os.ReadFile("/proc/self/gid_map")
	deny, _ := os.ReadFile("/proc/self/setgroups")
	if err1 != nil || err2 != nil { // a kernel without user namespaces
		return Everyone
	}
	return Parse(users, groups, deny)
})

// Everyone is who there is on a host, and in its own user namespace.
var Everyone = Map{Users: []Range{all}, Groups: []Range{all}, Setgroups: true}

var all = Range{Size: math.MaxUint32}

// Parse reads the files uid_map, gid_map and setgroups of a process.
func Parse(users, groups, setgroups []byte) Map {
	return Map{ranges(users), ranges(groups), !bytes.Equal(bytes.TrimSpace(setgroups), []byte("deny"))}
}

func ranges(text []byte) (found []Range) {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 3 {
			found = append(found, Range{number(f[0]), number(f[1]), number(f[2])})
		}
	}
	return found
}

func number(digits []byte) (n uint32) {
	for _, d := range digits {
		n = 10*n + uint32(d-'0')
	}
	return n
}

// Host tells whether it is the host's own, as far as it can be told from within:
// all users are there, as themselves.
func (m Map) Host() bool { return len(m.Users) == 1 && m.Users[0] == all }

// Single tells whether root is the one user, or the one group, that there is.
func (m Map) Single() bool { return count(m.Users) == 1 || count(m.Groups) == 1 }

func count(ranges []Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Size)
	}
	return n
}

// HasUser and HasGroup tell whether there is one of that number.
func (m Map) HasUser(id uint32) bool  { return has(m.Users, id) }
func (m Map) HasGroup(id uint32) bool { return has(m.Groups, id) }

// LastGroup is the last of those that follow each other from root's on.
func (m Map) LastGroup() uint32 {
	last := uint32(0)
	for m.HasGroup(last + 1) {
		for _, r := range m.Groups {
			if r.Inside <= last+1 && last-r.Inside+1 < r.Size {
				last = r.Inside + r.Size - 1
			}
		}
	}
	return last
}

func has(ranges []Range, id uint32) bool {
	for _, r := range ranges {
		if id >= r.Inside && id-r.Inside < r.Size {
			return true
		}
	}
	return false
}
