package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OOMKills is how many processes of the cgroup the kernel has killed for want
// of memory.
func (g Group) OOMKills() int {
	dir := g.Dir("memory")
	if dir == "" {
		return 0
	}
	b, _ := os.ReadFile(filepath.Join(dir, oomCounter())) // it may be gone
	return oomKillsIn(b)
}

// oomCounter is the name of the file that counts them.
func oomCounter() string {
	if unified() {
		return "memory.events"
	}
	return "memory.oom_control" // it counts since Linux 4.13
}

func oomKillsIn(counters []byte) int {
	for line := range strings.Lines(string(counters)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			count, _ := strconv.Atoi(strings.TrimSpace(n))
			return count
		}
	}
	return 0
}

// OOMEvents opens a file that Go's poller finds readable whenever there may
// have been a kill. Version 2 has one; in version 1 it is an eventfd that the
// kernel is given, memory cgroup v1's "OOM Control".
func (g Group) OOMEvents() (*os.File, error) {
	dir := g.Dir("memory")
	if dir == "" {
		return nil, fmt.Errorf("the container has no memory cgroup: %w", fs.ErrNotExist)
	}
	if unified() {
		return os.Open(filepath.Join(dir, oomCounter()))
	}
	// Not through package os: its poller would be told of files that are not
	// waited for, which takes as long as all else.
	counter, err := unix.Open(filepath.Join(dir, oomCounter()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	defer unix.Close(counter)
	control, err := unix.Open(filepath.Join(dir, "cgroup.event_control"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	defer unix.Close(control)
	events, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if _, err := unix.Write(control, fmt.Appendf(nil, "%d %d", events, counter)); err != nil {
		unix.Close(events)
		return nil, os.NewSyscallError("write", err)
	}
	return os.NewFile(uintptr(events), "memory.oom_control"), nil
}

// EachOOM calls look with the number of kills, now and whenever it may have
// grown, until f is closed.
func (g Group) EachOOM(f *os.File, look func(kills int)) {
	if unified() {
		eachChange(f, look)
	} else {
		g.eachNotice(f, look)
	}
}

// eachChange is EachOOM for version 2. The file can be read at any time: it is
// the poller's edges that tell, and no look waits for one that came before it.
// They come up to a hundred times a second in a container that is at its limit
// and need not lose a process; so the open file is read, not opened.
func eachChange(f *os.File, look func(kills int)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 512)
	_ = raw.Read(func(uintptr) bool {
		n, _ := f.ReadAt(b, 0)
		look(oomKillsIn(b[:n]))
		return false
	})
}

// oomPatience is how long version 1's kernel may take to kill after it has told
// that it is going to. It need not kill: another process may end first.
const oomPatience = time.Second

// eachNotice is EachOOM for version 1: after a notice, look again and again.
func (g Group) eachNotice(f *os.File, look func(kills int)) {
	b := make([]byte, 8)
	var pause time.Duration // 0: till the next notice
	for {
		look(g.OOMKills())
		var until time.Time
		if pause > 0 {
			until = time.Now().Add(pause)
		}
		err := f.SetReadDeadline(until)
		if err == nil {
			_, err = f.Read(b)
		}
		switch {
		case err == nil:
			pause = time.Millisecond
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return
		case pause < oomPatience:
			pause *= 2
		default:
			pause = 0
		}
	}
}
