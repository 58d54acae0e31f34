package task

import (
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
)

// watch waits for a process and tells of its end.
func (s *Service) watch(c *container, p *process) {
	status := p.wait()
	if p == c.init {
		c.finish()
	}
	p.starting.Lock()
	defer p.starting.Unlock()
	if c.oomed() {
		s.events.send(c.bundle.Namespace, &eventtypes.TaskOOM{ContainerID: c.bundle.ID})
	}
	id := p.id
	if p == c.init {
		id = c.bundle.ID
	}
	p.ended(status, func(at time.Time) {
		s.events.send(c.bundle.Namespace, &eventtypes.TaskExit{
			ContainerID: c.bundle.ID, ID: id, Pid: uint32(p.pid),
			ExitStatus: status, ExitedAt: protobuf.ToTimestamp(at),
		})
	})
}

// finish sees to it that the end of the first process is the last end of the
// container's: where the kernel does not end the others with it, they are
// killed.
func (c *container) finish() {
	c.starts.Lock()
	c.end()
	c.starts.Unlock()
	if c.shared {
		c.thaw()
		c.cgroup.kill()
		children.dismiss()
	}
	for _, p := range c.all() {
		if p.current() == tasktypes.Status_RUNNING {
			<-p.exited
		}
	}
}

// oomed tells whether the kernel has killed for want of memory since the last
// call.
func (c *container) oomed() bool {
	n := c.cgroup.oomKills()
	c.mu.Lock()
	defer c.mu.Unlock()
	more := n > c.ooms
	c.ooms = n
	return more
}
