package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// Sweep removes what programs that are gone have left: their attached
// containers, and what their calls had half made. With services of its own the
// lock on the root says that no other program can own any of it, in whichever
// namespace.
func (e *Engine) Sweep(ctx context.Context) error {
	if !e.Backend.Sole() {
		return e.sweep(ctx)
	}
	all, err := e.Client.NamespaceService().List(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	errs := []error{rootfs.Discard(e.removed())}
	for _, ns := range all {
		of := e.In(ns)
		errs = append(errs, of.sweep(of.Context(ctx)), of.trash.Empty())
	}
	return errors.Join(errs...)
}

// In gives the engine as it is in another namespace, for sweeping only.
func (e *Engine) In(namespace string) *Engine {
	return &Engine{
		Client: e.Client, Namespace: namespace, Snapshotter: e.Snapshotter, Snapshotters: e.Snapshotters,
		Root: e.Root, Files: e.Files, Volumes: e.Volumes, Runtime: e.Runtime, Backend: e.Backend, entry: e.entry,
	}
}

func (e *Engine) sweep(ctx context.Context) error {
	ids, err := e.orphans(ctx)
	errs := []error{err}
	for _, id := range ids {
		c, err := e.Client.ContainerService().Get(ctx, id)
		if errdefs.IsNotFound(err) {
			c, err = containers.Container{ID: id}, nil
		}
		if err == nil {
			err = e.Remove(ctx, c)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, e.sweepKept(ctx), e.sweepNames(ctx), e.sweepViews(ctx), e.sweepCalls(ctx), e.Store().Sweep())...)
}

// orphan tells of an owner's things whether anybody is still there for them.
func (e *Engine) orphan(owner string) bool { return e.Backend.Sole() || !Alive(owner) }

// sweepKept ends the processes of kept containers whose program is gone, where
// they did not end with it.
func (e *Engine) sweepKept(ctx context.Context) error {
	list, err := e.Client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("sweep kept containers: %w", err)
	}
	var errs []error
	for _, c := range list {
		if r, _ := record.Of(c); !r.Kept {
			continue
		}
		j := journal.At(e.Dir(c.ID))
		past := j.Read()
		if past.Owner == "" || !e.orphan(past.Owner) {
			continue
		}
		err := e.DeleteTask(ctx, c.ID)
		if err == nil {
			_, err = j.Take("")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepCalls gives up what calls had half made.
func (e *Engine) sweepCalls(ctx context.Context) error {
	m := e.Client.LeasesService()
	list, err := m.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("sweep leases: %w", err)
	}
	var errs []error
	for _, l := range list {
		if !e.orphan(l.Labels[leaseLabel]) {
			continue
		}
		if young(l) {
			errs = append(errs, e.cutOff(ctx, l))
			continue
		}
		if err := m.Delete(ctx, leases.Lease{ID: l.ID}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("sweep lease %s: %w", l.ID, err))
		}
	}
	return errors.Join(errs...)
}
