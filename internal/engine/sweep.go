package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// OwnerLabel names the process that an attached container belongs to.
const OwnerLabel = "io.ctor.owner"

// Dir is where the engine keeps the files of a container.
func (e *Engine) Dir(id string) string { return filepath.Join(e.Root, "containers", e.Namespace, id) }

// Remove deletes a container, running or not: its task, record, writable layer
// and files. What is gone already is no error.
func (e *Engine) Remove(ctx context.Context, c containers.Container) error {
	var errs []error
	add := func(what string, err error) {
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete %s of %s: %w", what, c.ID, err))
		}
	}
	add("task", e.removeTask(ctx, c.ID))
	add("record", e.Client.ContainerService().Delete(ctx, c.ID))
	// The snapshot goes last: it is what keeps the name from being given again.
	add("files", os.RemoveAll(e.Dir(c.ID)))
	if c.SnapshotKey != "" {
		add("snapshot", e.Client.SnapshotService(c.Snapshotter).Remove(ctx, c.SnapshotKey))
	}
	return errors.Join(errs...)
}

func (e *Engine) removeTask(ctx context.Context, id string) error {
	c, err := e.Client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	t, err := c.Task(ctx, nil)
	if err != nil {
		return err
	}
	_, err = t.Delete(ctx, containerd.WithProcessKill)
	return err
}

// Sweep removes the attached containers of programs that are gone. After a
// dirty end, in an engine of its own services, it removes as well what calls
// of the dead program had half made.
func (e *Engine) Sweep(ctx context.Context, dirty bool) error {
	list, err := e.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", OwnerLabel))
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var errs []error
	for _, c := range list {
		// The lock on the root says that nobody else can own any.
		if e.Embedded || !Alive(c.Labels[OwnerLabel]) {
			errs = append(errs, e.Remove(ctx, c))
		}
	}
	if dirty || !e.Embedded {
		errs = append(errs, e.sweepSnapshots(ctx))
	}
	if dirty && e.Embedded {
		errs = append(errs, e.sweepCalls(ctx), e.sweepFiles(ctx))
	}
	return errors.Join(errs...)
}

// sweepSnapshots removes the writable layers of containers that were being
// made, or deleted, when their program was killed: they have no record.
func (e *Engine) sweepSnapshots(ctx context.Context) error {
	sn := e.Client.SnapshotService(e.Snapshotter)
	var owned []string
	err := sn.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if e.Embedded || !Alive(i.Labels[OwnerLabel]) {
			owned = append(owned, i.Name)
		}
		return nil
	}, fmt.Sprintf("labels.%q", OwnerLabel))
	errs := []error{err}
	for _, name := range owned {
		if _, err := e.Client.ContainerService().Get(ctx, name); errdefs.IsNotFound(err) {
			errs = append(errs, os.RemoveAll(e.Dir(name)), sn.Remove(ctx, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep snapshots: %w", err)
	}
	return nil
}

func (e *Engine) sweepCalls(ctx context.Context) error {
	m := e.Client.LeasesService()
	list, err := m.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("sweep leases: %w", err)
	}
	var errs []error
	for i, l := range list {
		var opts []leases.DeleteOpt
		if i == len(list)-1 {
			opts = append(opts, leases.SynchronousDelete)
		}
		errs = append(errs, m.Delete(ctx, l, opts...))
	}
	// A program killed between the overlay snapshotter's rename and its commit
	// leaves a directory that the next snapshot would trip over.
	if c, ok := e.Client.SnapshotService(e.Snapshotter).(snapshots.Cleaner); ok {
		if err := c.Cleanup(ctx); err != nil && !errdefs.IsNotImplemented(err) {
			errs = append(errs, fmt.Errorf("sweep snapshots: %w", err))
		}
	}
	return errors.Join(errs...)
}

// sweepFiles removes the files of containers that have no record.
func (e *Engine) sweepFiles(ctx context.Context) error {
	dirs, err := filepath.Glob(e.Dir("*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range dirs {
		if _, err := e.Client.ContainerService().Get(ctx, filepath.Base(d)); errdefs.IsNotFound(err) {
			errs = append(errs, os.RemoveAll(d))
		}
	}
	return errors.Join(errs...)
}
