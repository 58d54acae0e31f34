package container

import (
	"context"
	"time"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/procs"
)

// ProcessInfo is what the kernel tells of a process of a container, or a command of
// one, at a moment. All of it is what the process likes, but for the numbers.
type ProcessInfo struct {
	Pid     int           // in the container
	HostPid int           // on the host
	Parent  int           // its parent's HostPid, which may be none of the container's
	UID     int           // the effective user, on the host
	State   string        // the kernel's letter, such as "R", "S" or "Z" (proc_pid_stat(5))
	Threads int           // how many it has
	Memory  int64         // resident, in bytes; what it shares counts too
	CPU     time.Duration // that it has used, in user and system mode
	Name    string        // of its program's file, up to 15 bytes
	Args    []string      // of its command; empty of one that has ended
}

// Top tells of the processes of a container, by their HostPid. One that ends meanwhile
// is left out. A container that does not run is ctor.ErrInvalid.
func (c *Container) Top(ctx context.Context) (list []ProcessInfo, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		list, err = c.top(ctx)
		return err
	})
	return list, c.wrap("top of", err)
}

func (c *Container) top(ctx context.Context) ([]ProcessInfo, error) {
	s, err := c.life().Status(ctx)
	if err != nil {
		return nil, err
	}
	if s.Pid == 0 || s.Ended() {
		return nil, invalid("it is %s", s.State)
	}
	pids, err := c.pids(int(s.Pid))
	if err != nil {
		return nil, err
	}
	all, err := procs.Of(pids)
	if err != nil {
		return nil, err
	}
	list := make([]ProcessInfo, len(all))
	for i, p := range all {
		list[i] = ProcessInfo{p.Pid, p.Host, p.Parent, p.UID, p.State, p.Threads, p.Memory, p.CPU, p.Name, p.Args}
	}
	return list, nil
}

// pids are those of the container's processes, of which first is the first. Without a
// cgroup they are those of its pid namespace; what is in others below is left out.
func (c *Container) pids(first int) ([]int, error) {
	if c.bounded() != nil {
		return procs.Beside(first)
	}
	return cgroup.Of(first).Pids()
}
