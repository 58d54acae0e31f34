package tasks

import (
	"context"
	"fmt"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/shim/link"
	shimtask "github.com/ctorhq/ctor/internal/shim/task"
)

// Runtime tells of what runs the containers that name a runtime.
func (s *Service) Runtime(ctx context.Context, name string) (*types.RuntimeInfo, error) {
	if err := runs(name); err != nil {
		return nil, err
	}
	return shim.Info(ctx, s.cfg.Shim)
}

// runs tells whether containers that name a runtime can be run here, with our shim.
// Runc's name means that as well. Any other name stands for another kind of isolation:
// a caller that asks for it must not get less.
func runs(runtime string) error {
	switch runtime {
	case link.Runtime, plugins.RuntimeRuncV2:
		return nil
	}
	return fmt.Errorf("runtime %q: %w by an engine in this process: Dial a containerd that has it, or name %s",
		runtime, errdefs.ErrNotImplemented, link.Runtime)
}

// heed does what a container asks of its runtime before it is made, or refuses.
func heed(r containers.RuntimeInfo, c *api.CreateTaskRequest) error {
	if err := runs(r.Name); err != nil {
		return err
	}
	given := c.Options
	if len(given.GetValue()) == 0 && r.Options != nil { // as in containerd: the task's, or else the container's
		given = typeurl.MarshalProto(r.Options)
	}
	asked, err := shimtask.ParseOptions(given)
	if err != nil {
		return err
	}
	if asked.ShimCgroup != "" {
		return fmt.Errorf("runtime option shim_cgroup: %w: the shim is all containers': leave it out", errdefs.ErrNotImplemented)
	}
	return asked.Own(c.Stdin, c.Stdout, c.Stderr)
}
