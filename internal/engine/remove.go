package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/host"
)

// Dir is where the engine keeps the files of a container.
func (e *Engine) Dir(id string) string { return filepath.Join(e.Files, e.Namespace, id) }

// Remove deletes a container, running or not: its task, record, files and
// writable layer, in an order such that what a kill in the middle leaves is
// found by Sweep. What is gone already is no error.
func (e *Engine) Remove(ctx context.Context, c containers.Container) error {
	var errs []error
	add := func(what string, err error) {
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete %s of %s: %w", what, c.ID, err))
		}
	}
	add("task", e.DeleteTask(ctx, c.ID))
	add("record", e.Client.ContainerService().Delete(ctx, c.ID))
	add("files", os.RemoveAll(e.Dir(c.ID)))
	// The snapshot goes last: it is what keeps the name from being given again.
	// One made by a snapshotter that this host does not have is out of reach.
	if c.SnapshotKey != "" && e.Backend.Reaches(c.Snapshotter) {
		add("snapshot", e.Client.SnapshotService(c.Snapshotter).Remove(ctx, c.SnapshotKey))
	}
	return errors.Join(errs...)
}

// RemoveEnded is Remove for a container whose process has ended, as a rule, the
// short way: one word to the shim, then everything else at once, but for the
// record. That of an attached container, which is held in memory, goes last and
// keeps the name; that of a detached one goes first, so that Sweep finds what a
// kill in the middle leaves.
func (e *Engine) RemoveEnded(ctx context.Context, c containers.Container) error {
	if !e.Backend.Reaches(c.Snapshotter) {
		return e.Remove(ctx, c)
	}
	if err := e.DeleteEnded(ctx, c.ID); err != nil {
		return e.Remove(ctx, c)
	}
	records := e.Client.ContainerService()
	_, attached := c.Labels[OwnerLabel]
	if !attached {
		if err := records.Delete(ctx, c.ID); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete record of %s: %w", c.ID, err)
		}
	}
	files := make(chan error, 1)
	go func() { files <- os.RemoveAll(e.Dir(c.ID)) }()
	err := e.Client.SnapshotService(c.Snapshotter).Remove(ctx, c.SnapshotKey)
	if errdefs.IsNotFound(err) {
		err = nil
	}
	if err = errors.Join(err, <-files); err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if attached {
		return records.Delete(ctx, c.ID)
	}
	return nil
}

// DeleteEnded is DeleteTask for a container whose process has ended, as a rule,
// the short way.
func (e *Engine) DeleteEnded(ctx context.Context, id string) error {
	if _, err := e.Client.TaskService().Delete(ctx, &api.DeleteTaskRequest{ContainerID: id}); err != nil {
		return e.DeleteTask(ctx, id)
	}
	return nil
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
	return e.Backend.Clear(ctx, id, filepath.Join(host.CgroupParent(e.Root, e.Namespace), id), err)
}
