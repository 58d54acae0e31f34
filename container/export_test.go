package container

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// LookupHosts finds a name in a hosts file.
var LookupHosts = lookupHosts

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
