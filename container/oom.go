package container

import (
	"encoding/json"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// oomKilled tells whether the kernel has killed a process of the container for
// want of memory. Once the container is deleted that is not known any more.
func (c *Container) oomKilled() bool { return cgroup.At(c.cgroup()).OOMKills() > 0 }

// readCgroup reads from the record which cgroup the container is in, in every
// hierarchy; "" is unknown.
func (c *Container) readCgroup() string {
	var s struct {
		Linux struct{ CgroupsPath string }
	}
	if c.record.Spec == nil || json.Unmarshal(c.record.Spec.GetValue(), &s) != nil {
		return ""
	}
	return s.Linux.CgroupsPath
}
