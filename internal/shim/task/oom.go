package task

import (
	"context"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// limited tells whether resources bound the memory. Only then is there a watch,
// which costs a descriptor: the others lose processes to a limit above them or
// to a host that has run out, and version 1 has no event of that.
func limited(r *specs.LinuxResources) bool {
	return r != nil && r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0
}

// tellOOM tells that the kernel has killed for want of memory, unless that many
// kills were told. It is called before an end is told, whose reason it is.
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
		f, err := c.cgroup().OOMEvents()
		if err != nil {
			return
		}
		context.AfterFunc(c.life, func() { f.Close() })
		go c.cgroup().EachOOM(f, func(kills int) {
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
