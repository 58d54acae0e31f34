package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/life"
)

// OwnerLabel names the process that a container belongs to. The record of an
// attached one has it, that of a detached one until it is made, and the
// snapshot of either.
const OwnerLabel = "io.ctor.owner"

// KeptLabel marks the record of a container whose processes end with its
// program, and nothing else of it.
const KeptLabel = "io.ctor.kept"

// ScratchLabel marks the snapshot of an attached container: nothing of it
// needs to outlast the program.
const ScratchLabel = "io.ctor.scratch"

// Sweep removes what programs that are gone have left: their attached
// containers, and what their calls had half made. With services of its own the
// lock on the root says that nobody else can own any of it, in whichever
// namespace.
func (e *Engine) Sweep(ctx context.Context) error {
	if !e.Backend.Sole() {
		return e.sweep(ctx)
	}
	all, err := e.Client.NamespaceService().List(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var errs []error
	for _, ns := range all {
		of := e.In(ns)
		errs = append(errs, of.sweep(of.Context(ctx)))
	}
	return errors.Join(errs...)
}

// In gives the engine as it is in another namespace, for sweeping only.
func (e *Engine) In(namespace string) *Engine {
	return &Engine{
		Client: e.Client, Namespace: namespace, Snapshotter: e.Snapshotter, Snapshotters: e.Snapshotters,
		Root: e.Root, Files: e.Files, Runtime: e.Runtime, Backend: e.Backend, entry: e.entry,
	}
}

func (e *Engine) sweep(ctx context.Context) error {
	errs := []error{e.sweepContainers(ctx), e.sweepKept(ctx), e.sweepCalls(ctx)}
	for _, name := range e.Snapshotters {
		errs = append(errs, e.sweepSnapshots(ctx, e.Client.SnapshotService(name)))
	}
	if e.Backend.Sole() {
		errs = append(errs, e.sweepFiles(ctx))
	}
	return errors.Join(errs...)
}

// orphan tells of an owner's things whether anybody is still there for them.
func (e *Engine) orphan(owner string) bool { return e.Backend.Sole() || !Alive(owner) }

func (e *Engine) sweepContainers(ctx context.Context) error {
	list, err := e.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", OwnerLabel))
	if err != nil {
		return fmt.Errorf("sweep containers: %w", err)
	}
	var errs []error
	for _, c := range list {
		if e.orphan(c.Labels[OwnerLabel]) {
			errs = append(errs, e.Remove(ctx, c))
		}
	}
	return errors.Join(errs...)
}

// sweepKept ends the processes of kept containers whose program is gone, where
// they did not end with it.
func (e *Engine) sweepKept(ctx context.Context) error {
	list, err := e.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", KeptLabel))
	if err != nil {
		return fmt.Errorf("sweep kept containers: %w", err)
	}
	var errs []error
	for _, c := range list {
		j := life.Journal{Dir: e.Dir(c.ID)}
		past := j.Read()
		if past.Owner == "" || !e.orphan(past.Owner) {
			continue
		}
		err := e.DeleteTask(ctx, c.ID)
		if err == nil {
			past.Owner = ""
			err = j.Write(past)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepSnapshots removes writable layers whose container never got a record.
func (e *Engine) sweepSnapshots(ctx context.Context, sn snapshots.Snapshotter) error {
	var found []snapshots.Info
	err := sn.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		found = append(found, i)
		return nil
	}, fmt.Sprintf("labels.%q", OwnerLabel))
	if err != nil {
		return fmt.Errorf("sweep snapshots: %w", err)
	}
	var errs []error
	for _, i := range found {
		if !e.orphan(i.Labels[OwnerLabel]) {
			continue
		}
		if _, err := e.Client.ContainerService().Get(ctx, i.Name); !errdefs.IsNotFound(err) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.RemoveAll(e.Dir(i.Name)))
		if err := sn.Remove(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("sweep snapshot %s: %w", i.Name, err))
		}
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
		if err := m.Delete(ctx, leases.Lease{ID: l.ID}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("sweep lease %s: %w", l.ID, err))
		}
	}
	return errors.Join(errs...)
}

// sweepFiles removes the files of containers that have no record.
func (e *Engine) sweepFiles(ctx context.Context) error {
	dirs, err := os.ReadDir(e.Dir(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range dirs {
		if _, err := e.Client.ContainerService().Get(ctx, d.Name()); errdefs.IsNotFound(err) {
			errs = append(errs, os.RemoveAll(filepath.Join(e.Dir(""), d.Name())))
		}
	}
	return errors.Join(errs...)
}
