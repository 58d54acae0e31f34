package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OOMKilled tells whether the kernel has killed a process in a cgroup for want
// of memory. The kernel's own counter says so, as long as the cgroup is there;
// events of it come late or get lost. The path is the same in every hierarchy;
// "" has none.
func OOMKilled(path string) bool {
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
