package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Pids are all processes in the cgroup and below it. It is no error if cgroups
// below come and go at the same time.
func (g Group) Pids() ([]int, error) {
	root := g.processes()
	if root == "" {
		return nil, fmt.Errorf("the container has no cgroup: %w", errdefs.ErrNotFound)
	}
	pids, err := within(root)
	if gone(err) {
		return nil, fmt.Errorf("the container has ended: %w", errdefs.ErrNotFound)
	}
	return pids, err
}

// within gives the processes of a cgroup and of those below it.
func within(root string) (pids []int, err error) {
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			var here []int
			here, err = list(path)
			pids = append(pids, here...)
		}
		if path != root && gone(err) {
			return nil
		}
		return err
	})
	return pids, err
}

// members gives the processes of one cgroup, none if there is no such cgroup.
func members(dir string) ([]int, error) {
	pids, err := list(dir)
	// v2: a threaded cgroup has no list of processes, and is no container's.
	if gone(err) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return pids, err
}

// list reads the processes of one cgroup. A process of another pid namespace,
// which has no number here, is left out: it is no container of ours.
func list(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// gone tells of an error whether it says that the cgroup is gone.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// holds tells whether a process is in the cgroup, or below it.
func (g Group) holds(pid int) bool {
	for name, path := range read(fmt.Sprintf("/proc/%d/cgroup", pid)) {
		if own := g[name]; own != "" && strings.HasPrefix(path+"/", own+"/") {
			return true
		}
	}
	return false
}

// In tells whether a process is in the cgroup that has path in every hierarchy,
// or below it. Where the process sees a hierarchy from further up, as one in
// another cgroup namespace does, the path is the end of what it sees.
func In(path string, pid int) (bool, error) {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return contains(string(groups), path), err
}

// contains is In of the text of /proc/pid/cgroup.
func contains(groups, path string) bool {
	for line := range strings.Lines(groups) {
		if strings.Contains(strings.TrimSuffix(line, "\n")+"/", path+"/") {
			return true
		}
	}
	return false
}
