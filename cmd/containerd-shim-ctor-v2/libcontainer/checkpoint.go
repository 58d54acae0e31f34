package libcontainer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Checkpoints are the runc command's work, whose state is the same. libcontainer
// has it too, but reads CRIU's options by reflection, for which the linker keeps
// every method of every type: that was a quarter more program, and 0.9 ms more
// of the start of each process in a container.

// runcCommand is the command, if there is one.
func runcCommand() (*command.Executor, error) {
	if _, err := exec.LookPath("runc"); err != nil {
		return nil, fmt.Errorf("no runc on PATH to make and restore checkpoints with (%w): apt-get install runc", errdefs.ErrUnavailable)
	}
	return command.New("runc"), nil
}

// Checkpoint has CRIU write the container's processes to files.
func (c *Container) Checkpoint(ctx context.Context, how task.Checkpoint) error {
	return c.change(ctx, "checkpoint", func() error {
		runc, err := runcCommand()
		if err != nil {
			return err
		}
		// What is a descriptor of this process is none of the command's.
		root := strings.Replace(c.root, "/proc/self/", fmt.Sprintf("/proc/%d/", os.Getpid()), 1)
		return runc.Of(c.made.ID(), root, c.dir).Checkpoint(ctx, how)
	})
}

// restore makes a container as its checkpoint has it. From then on it is the
// command's.
func restore(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	runc, err := runcCommand()
	if err != nil {
		return nil, task.Process{}, err
	}
	return runc.Create(ctx, b, io)
}
