package engine

import (
	"context"
	"path/filepath"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// taskPart is a container's processes, and the cgroup they are in.
type taskPart struct{ e *Engine }

func (taskPart) String() string { return "task" }

// Remove implements Part.
func (p taskPart) Remove(ctx context.Context, c containers.Container) error {
	return p.e.DeleteEnded(ctx, c.ID)
}

// Orphans implements Part. A task without a record is found by its shim or its
// bundle, which the task service sweeps by itself; a containerd that runs has
// none.
func (taskPart) Orphans(context.Context) ([]string, error) { return nil, nil }

// Cgroup is the cgroup of a container, in every hierarchy; "" is that it has none.
func (e *Engine) Cgroup(id string) string {
	parent := cgroup.Parent(e.Root, e.Namespace)
	if parent == "" {
		return ""
	}
	return filepath.Join(parent, id)
}

// Expect tells of a container that is about to be made, in namespaces of its own.
func (e *Engine) Expect(ctx context.Context, id string, root []mount.Mount) {
	if p := e.Backend.Parker(); p != nil {
		p.Expect(ctx, id, e.Cgroup(id), Mounts(root))
	}
}

// Mounts are mounts as a runtime is told them.
func Mounts(all []mount.Mount) (told []*types.Mount) {
	for _, m := range all {
		told = append(told, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return told
}

// DeleteEnded is DeleteTask for a container that has ended, usually, or that the
// runtime has let go of: then one call to the runtime is enough.
func (e *Engine) DeleteEnded(ctx context.Context, id string) error {
	_, err := e.Client.TaskService().Delete(ctx, &api.DeleteTaskRequest{ContainerID: id})
	switch err = errgrpc.ToNative(err); {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return e.Backend.Clear(ctx, id, e.Cgroup(id), err)
	default:
		return e.DeleteTask(ctx, id)
	}
}

// DeleteTask kills what runs of a container, and has the runtime let go of it.
// One that is gone already is no error.
func (e *Engine) DeleteTask(ctx context.Context, id string) error {
	c, err := e.Client.LoadContainer(ctx, id)
	if err == nil {
		var t containerd.Task
		if t, err = c.Task(ctx, nil); err == nil {
			_, err = t.Delete(ctx, containerd.WithProcessKill)
		}
	}
	return e.Backend.Clear(ctx, id, e.Cgroup(id), err)
}
