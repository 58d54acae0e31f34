package container

import (
	"context"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"

	"github.com/ctorhq/ctor/internal/reach"
)

// Stats1 and Stats2 are the counters of the two versions of cgroups.
func Stats1(m *v1.Metrics) (s Stats) { s.version1(m); return s }
func Stats2(m *v2.Metrics) (s Stats) { s.version2(m); return s }

// Mistaken is the container's door where its runtime gives another pid.
func Mistaken(c *Container, pid int) reach.Door { return c.e.Doors.Door(mistaken{inside{c}, pid}) }

type mistaken struct {
	inside
	pid int
}

func (m mistaken) Pid(context.Context) (int, error) { return m.pid, nil }
