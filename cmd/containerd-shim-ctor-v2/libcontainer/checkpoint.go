package libcontainer

import (
	"context"

	runc "github.com/opencontainers/runc/libcontainer"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// Checkpoint has CRIU write the container's processes to files.
func (c *Container) Checkpoint(ctx context.Context, how task.Checkpoint) error {
	return c.change(ctx, "checkpoint", func() error {
		return c.made.Checkpoint(&runc.CriuOpts{
			ImagesDirectory: how.Images, WorkDirectory: how.Work, LeaveRunning: !how.Exit,
			TcpEstablished: how.TCP, ExternalUnixConnections: how.Unix, FileLocks: how.Locks,
			StatusFd: -1,
		})
	})
}

// begin starts a process, or restores the first one and all that it had
// started. What was allowed to be in a checkpoint is.
func (c *Container) begin(p *runc.Process) error {
	if !p.Init || c.images == "" {
		return c.made.Start(p)
	}
	return c.made.Restore(p, &runc.CriuOpts{
		ImagesDirectory: c.images, WorkDirectory: c.work,
		TcpEstablished: true, ExternalUnixConnections: true, FileLocks: true,
		StatusFd: -1,
	})
}
