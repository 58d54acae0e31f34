package command

import (
	"context"

	runc "github.com/containerd/go-runc"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// Checkpoint implements task.Container.
func (c *container) Checkpoint(ctx context.Context, how task.Checkpoint) error {
	var actions []runc.CheckpointAction
	if !how.Exit {
		actions = append(actions, runc.LeaveRunning)
	}
	return c.call(ctx, func(ctx context.Context, r *runc.Runc) error {
		return r.Checkpoint(ctx, c.id, &runc.CheckpointOpts{
			ImagePath: how.Images, WorkDir: how.Work,
			AllowOpenTCP: how.TCP, AllowExternalUnixSockets: how.Unix, FileLocks: how.Locks,
		}, actions...)
	})
}

// restore makes a container of a checkpoint. What was allowed to be in that is.
func (c *container) restore(ctx context.Context, r *runc.Runc, b task.Bundle, s *starting) error {
	_, err := r.Restore(ctx, b.ID, b.Dir, &runc.RestoreOpts{
		CheckpointOpts: runc.CheckpointOpts{
			ImagePath: b.Images, WorkDir: b.CriuWork(),
			AllowOpenTCP: true, AllowExternalUnixSockets: true, FileLocks: true,
		},
		IO: s, PidFile: s.pidFile, Detach: true,
	})
	return err
}
