package task

import (
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
)

// watch waits for a process and tells of its end.
func (s *Service) watch(c *container, p *process) {
	if l := c.bundle.Spec.Linux; p == c.init && l != nil && limited(l.Resources) {
		s.watchOOM(c) // here, since Create does not wait for it
	}
	status := p.wait()
	if p == c.init {
		c.finish()
	}
	p.starting.Lock()
	defer p.starting.Unlock()
	s.tellOOM(c, c.cgroup().OOMKills())
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
	c.end()
	c.starts.Lock() // what is being started has ended, or is known
	execs := c.all()
	c.starts.Unlock()
	if c.shared {
		c.thaw()
		c.cgroup().Kill()
		children.dismiss()
	}
	for _, p := range execs {
		if p.current() == tasktypes.Status_RUNNING {
			<-p.exited
		}
	}
}
