package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// mounted is a line of proc_pid_mountinfo(5).
type mounted struct {
	id, parent string
	device     string // major:minor
	root       string // of the mount, in its file system
	at         string
	flags      string // the mount's options
	kind       string // the file system's type
	options    string // the file system's
}

func parseMounts(mountinfo []byte) []mounted {
	var all []mounted
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		all = append(all, mounted{
			id: f[0], parent: f[1], device: f[2], root: unescape(f[3]), at: unescape(f[4]),
			flags: f[5], kind: g[0], options: unescape(g[2]),
		})
	}
	return all
}

// hidden tells of one of all mounts whether another is on top of it, or of one
// that it is in: then its path leads somewhere else, and what is made there is
// not in its file system.
func hidden(m mounted, all []mounted) bool {
	way := map[string]mounted{m.id: m} // m, and what it is in
	for found := true; found; {
		found = false
		for _, k := range all {
			if _, known := way[k.id]; !known && k.id == m.parent {
				m, way[k.id], found = k, k, true
			}
		}
	}
	return slices.ContainsFunc(all, func(k mounted) bool {
		if _, ok := way[k.id]; ok {
			return false
		}
		for _, c := range way {
			beside := k.parent == c.parent && k.at != c.at && below(c.at, k.at)
			if beside || k.parent == c.id && k.at == c.at {
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

// hierarchies gives where cgroups are mounted. A host does not change that
// while a program runs.
var hierarchies = sync.OnceValues(func() ([]string, error) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	return cgroupMounts(parseMounts(b)), nil
})

func cgroupMounts(all []mounted) []string {
	var found []string
	for _, m := range all {
		if (m.kind == "cgroup" || m.kind == "cgroup2") && !slices.Contains(found, m.at) && !hidden(m, all) {
			found = append(found, m.at)
		}
	}
	return found
}

// SweepMounts undoes the mounts that a killed program has left of the engine
// in root: containerd mounts what it compares for a moment, in the system's
// temporary directory.
func SweepMounts(root string) error {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, at := range leftMounts(parseMounts(b), root) {
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
			continue
		}
		_ = os.Remove(at) // if it is empty
	}
	return errors.Join(errs...)
}

// leftMounts gives the mount points, the last mounted first.
func leftMounts(all []mounted, root string) []string {
	// root, as its own file system sees it.
	var home mounted
	for _, m := range all {
		if below(root, m.at) && len(m.at) >= len(home.at) {
			home = m
		}
	}
	inner := filepath.Join(home.root, strings.TrimPrefix(root, home.at))
	var left []string
	for _, m := range slices.Backward(all) {
		temporary := strings.HasPrefix(filepath.Base(m.at), "containerd-mount")
		bound := m.device == home.device && below(m.root, inner)
		layered := m.kind == "overlay" && strings.Contains(m.options, "="+root+"/")
		if temporary && (bound || layered) {
			left = append(left, m.at)
		}
	}
	return left
}

// below tells whether path is dir or below it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
