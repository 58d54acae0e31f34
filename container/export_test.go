package container

import (
	"context"
	"os"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"golang.org/x/sys/unix"
)

// LookupHosts finds a name in a hosts file.
var LookupHosts = lookupHosts

// Stats1 and Stats2 are the counters of the two versions of cgroups.
func Stats1(m *v1.Metrics) (s Stats) { s.version1(m); return s }
func Stats2(m *v2.Metrics) (s Stats) { s.version2(m); return s }

// Verify is what Dial asks of a pid before it takes it for the container's.
func Verify(ctx context.Context, c *Container, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	return c.verify(c.e.Context(ctx), pid, pidfd)
}
