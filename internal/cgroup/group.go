// Package cgroup is the one room that reads and writes cgroups: where engines and
// containers have theirs, who is in one, how many processes the kernel has killed
// in it, limits, and how it is stopped, emptied and removed, with either version.
//
// The shim links it, so it stays light: no package init of it, or of what it
// imports, may cost a container's start.
package cgroup

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/cgroups/v3"

	"github.com/ctorhq/ctor/internal/mountinfo"
)

// hierarchies gives where cgroups are mounted. A host does not change that
// while a program runs.
var hierarchies = sync.OnceValues(func() ([]string, error) {
	all, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	return mountinfo.Cgroups(all), nil
})

// Root is where every runtime looks for cgroups.
const Root = "/sys/fs/cgroup"

// A Group is where a container is in the hierarchies, by controller; "" is
// version 2's.
type Group map[string]string

// At is the cgroup that has the same path in every hierarchy, "" for none. It is
// not known to exist.
func At(path string) Group {
	g := Group{}
	for _, c := range append([]string{""}, controllers...) {
		g[c] = path
	}
	return g
}

// controllers are those of which this package reads or writes a file.
var controllers = []string{"pids", "memory", "freezer", "cpu", "cpuacct", "blkio"}

// Of reads where a process is, which must live meanwhile. A hierarchy in
// which the process has no cgroup of its own is left out: what is done to a
// container's cgroup must never hit that of the shim, nor the root, which is
// what version 1 tells of a process that has ended.
func Of(pid int) Group {
	g := read(fmt.Sprintf("/proc/%d/cgroup", pid))
	own := read("/proc/self/cgroup")
	maps.DeleteFunc(g, func(name, path string) bool { return path == "/" || path == own[name] })
	return g
}

// read reads a file like /proc/pid/cgroup, cgroups(7).
func read(path string) Group {
	g := Group{}
	b, _ := os.ReadFile(path)
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.SplitN(s.Text(), ":", 3)
		if len(f) == 3 {
			for _, name := range strings.Split(f[1], ",") {
				g[name] = f[2]
			}
		}
	}
	return g
}

// unified tells whether version 2 is all there is. On a hybrid host it is
// mounted as well, without the controllers.
var unified = sync.OnceValue(func() bool { return cgroups.Mode() == cgroups.Unified })

// Dir is the cgroup's directory in a controller's hierarchy; "" is none.
func (g Group) Dir(controller string) string {
	mount := filepath.Join(Root, controller)
	if unified() {
		controller, mount = "", Root
	}
	if g[controller] == "" {
		return ""
	}
	return filepath.Join(mount, g[controller])
}

// processes is a directory that lists its processes; they are in every
// hierarchy, but not every host has all.
func (g Group) processes() string {
	for _, c := range controllers {
		if dir := g.Dir(c); dir != "" {
			return dir
		}
	}
	return ""
}
