package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// oomKilled tells whether the kernel has killed a process of the container for
// want of memory. The kernel's own counter says so, as long as the cgroup is
// there; events of it come late or get lost.
func (c *Container) oomKilled() bool {
	path := c.cgroup()
	if path == "" {
		return false
	}
	for _, file := range []string{
		filepath.Join("/sys/fs/cgroup/memory", path, "memory.oom_control"), // v1
		filepath.Join("/sys/fs/cgroup", path, "memory.events"),             // v2
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
				n, _ := strconv.Atoi(f[1])
				return n > 0
			}
		}
	}
	return false
}

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
