package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/mountinfo"
)

var expecting atomic.Bool

// ExpectMove tells the kernel that processes are about to be moved into
// cgroups, and returns at once. Before the first such move after a while the
// kernel has all processors agree that forks and exits take a lock from now on
// (rcu_sync, of cgroup_threadgroup_rwsem): 4 to 15 milliseconds in which a
// runtime's write to cgroup.procs waits. Asked for beforehand, they go by beside
// the work that comes first. Some milliseconds later the kernel forgets it.
//
// It can only be asked for by a move. So a thread of this process is moved to
// where it is.
func ExpectMove() {
	if !expecting.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer expecting.Store(false)
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		before, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return
		}
		mine, err := os.ReadFile("/proc/thread-self/cgroup")
		if err != nil {
			return
		}
		moveThread(mine)
		// If the process was moved while the thread was, the thread follows,
		// unless it was apart from the process before.
		after, err := os.ReadFile("/proc/self/cgroup")
		if err == nil && !bytes.Equal(after, before) && bytes.Equal(mine, before) {
			moveThread(after)
		}
	}()
}

// wholeHierarchies gives where cgroups are mounted so that names in /proc/pid/cgroup
// are names there. A mount of the host's hierarchy in a cgroup namespace is left
// out: names there begin elsewhere.
var wholeHierarchies = sync.OnceValue(func() []string {
	all, _ := mountinfo.Read()
	return mountinfo.Cgroups(slices.DeleteFunc(all, func(m mountinfo.Mount) bool { return m.Root != "/" }))
})

// moveThread moves the calling thread into the first of cgroups, in the form of
// /proc/pid/cgroup, that takes it: all hierarchies share the lock.
func moveThread(cgroups []byte) {
	for _, list := range threadLists(cgroups, wholeHierarchies()) {
		f, err := os.OpenFile(list, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, err = f.WriteString(strconv.Itoa(unix.Gettid()))
		f.Close()
		if err == nil {
			return
		}
	}
}

// threadLists gives the files that threads are moved into cgroups by.
func threadLists(cgroups []byte, mounts []string) []string {
	var lists []string
	for line := range strings.Lines(string(cgroups)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // cgroups(7)
		if len(f) != 3 || strings.HasPrefix(f[2], "/..") {          // outside of what is mounted here
			continue
		}
		at, name := filepath.Join(Root, f[1]), "tasks"
		if f[1] == "" {
			name = "cgroup.threads" // version 2
		}
		if slices.Contains(mounts, at) {
			lists = append(lists, filepath.Join(at, f[2], name))
		}
	}
	return lists
}
