package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// limited tells whether resources bound the memory. Only then is there a watch,
// which costs a descriptor: the others lose processes to a limit above them or
// to a host that has run out, and version 1 has no event of that.
func limited(r *specs.LinuxResources) bool {
	return r != nil && r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0
}

// tellOOM tells that the kernel has killed for want of memory, unless that many
// kills were told. Whoever tells of an end calls it before: it is the reason.
func (s *Service) tellOOM(c *container, kills int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kills > c.ooms {
		c.ooms = kills
		s.events.send(c.bundle.Namespace, &eventtypes.TaskOOM{ContainerID: c.bundle.ID})
	}
}

// watchOOM has kills told when they happen, as long as the first process lives.
// Where the kernel has no events of them they are told at the next end of a
// process.
func (s *Service) watchOOM(c *container) {
	c.oomWatch.Do(func() {
		f, err := c.cgroup().oomEvents()
		if err != nil {
			return
		}
		context.AfterFunc(c.life, func() { f.Close() })
		go c.cgroup().eachOOM(f, func(kills int) {
			c.init.starting.Lock() // it is told after the start
			defer c.init.starting.Unlock()
			// After the life, what was read may be of another container, with
			// the same id.
			if c.life.Err() == nil {
				s.tellOOM(c, kills)
			}
		})
	})
}

// oomEvents opens a file that Go's poller finds readable whenever there may
// have been a kill. Version 2 has one; in version 1 it is an eventfd that the
// kernel is given, memory cgroup v1's "OOM Control".
func (g cgroup) oomEvents() (*os.File, error) {
	dir := g.dir("memory")
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

// eachOOM calls look with the number of kills, now and whenever it may have
// grown, until f is closed.
func (g cgroup) eachOOM(f *os.File, look func(kills int)) {
	if unified() {
		eachChange(f, look)
	} else {
		g.eachNotice(f, look)
	}
}

// eachChange is eachOOM for version 2. The file can be read at any time: it is
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
// that it is going to. It need not kill: another process may end meanwhile.
const oomPatience = time.Second

// eachNotice is eachOOM for version 1: after a notice, look again and again.
func (g cgroup) eachNotice(f *os.File, look func(kills int)) {
	b := make([]byte, 8)
	var pause time.Duration // 0: till the next notice
	for {
		look(g.oomKills())
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
