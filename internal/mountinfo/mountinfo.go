// Package mountinfo reads the kernel's list of mounts.
package mountinfo

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Mount is a line of proc_pid_mountinfo(5).
type Mount struct {
	ID, Parent string
	Device     string // major:minor
	Root       string // of the mount, in its file system
	At         string
	Flags      string // the mount's options
	Kind       string // the file system's type
	Options    string // the file system's
}

// Read gives the mounts of the calling thread's namespace.
func Read() ([]Mount, error) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	return Parse(b), nil
}

// Parse reads the text of a mountinfo file. Lines that make no sense are left out.
func Parse(mountinfo []byte) []Mount {
	var all []Mount
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		all = append(all, Mount{
			ID: f[0], Parent: f[1], Device: f[2], Root: unescape(f[3]), At: unescape(f[4]),
			Flags: f[5], Kind: g[0], Options: unescape(g[2]),
		})
	}
	return all
}

// Hidden tells of one of all mounts whether another is on top of it, or of one
// that it is in: then its path leads somewhere else, and what is made there is
// not in its file system.
func Hidden(m Mount, all []Mount) bool {
	way := map[string]Mount{m.ID: m} // m, and what it is in
	for found := true; found; {
		found = false
		for _, k := range all {
			if _, known := way[k.ID]; !known && k.ID == m.Parent {
				m, way[k.ID], found = k, k, true
			}
		}
	}
	return slices.ContainsFunc(all, func(k Mount) bool {
		if _, ok := way[k.ID]; ok {
			return false
		}
		for _, c := range way {
			beside := k.Parent == c.Parent && k.At != c.At && Below(c.At, k.At)
			if beside || k.Parent == c.ID && k.At == c.At {
				return true
			}
		}
		return false
	})
}

// unescape undoes the kernel's writing of blanks: \040.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || len(s) < i+4 {
			return b.String() + s
		}
		n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			b.WriteString(s[:i+1])
			s = s[i+1:]
			continue
		}
		b.WriteString(s[:i])
		b.WriteByte(byte(n))
		s = s[i+4:]
	}
}

// Cgroups gives where cgroups are mounted: of each hierarchy that its path leads
// to.
func Cgroups(all []Mount) []string {
	var found []string
	for _, m := range all {
		if (m.Kind == "cgroup" || m.Kind == "cgroup2") && !slices.Contains(found, m.At) && !Hidden(m, all) {
			found = append(found, m.At)
		}
	}
	return found
}

// Below tells whether path is dir or below it.
func Below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
