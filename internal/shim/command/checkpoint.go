package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"
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
	// runc 1.1 tells CRIU of the new container's cgroup on version 1 only. On
	// version 2 the processes would be in that of the container they were dumped
	// from, which may run on.
	if path := cgroupPath(b); path != "" {
		if strings.ContainsFunc(path, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return fmt.Errorf("cgroup %q: CRIU is told of none with blanks: %w", path, errdefs.ErrInvalidArgument)
		}
		if err := os.WriteFile(b.CriuConfig(), []byte("cgroup-root "+path+"\n"), 0o600); err != nil {
			return err
		}
		defer os.Remove(b.CriuConfig())
	}
	_, err := r.Restore(ctx, b.ID, b.Dir, &runc.RestoreOpts{
		CheckpointOpts: runc.CheckpointOpts{
			ImagePath: b.Images, WorkDir: b.CriuWork(),
			AllowOpenTCP: true, AllowExternalUnixSockets: true, FileLocks: true,
		},
		IO: s, PidFile: s.pidFile, Detach: true,
	})
	return err
}
