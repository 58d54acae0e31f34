package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/quota"
	"github.com/ctorhq/ctor/internal/record"
)

// Labels of snapshots. OwnerLabel names the process that one was made by, and
// layerLabel the container that it is the writable layer of. ScratchLabel marks
// that of an attached container: nothing of it needs to outlast the program.
const (
	OwnerLabel   = "io.ctor.owner"
	layerLabel   = "io.ctor.container"
	ScratchLabel = "io.ctor.scratch"
)

// OwnRoot are the labels of a snapshot that lives without anything that refers
// to it, but not without its owner.
func OwnRoot() map[string]string {
	return map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339), OwnerLabel: Owner()}
}

// LayerLabels are the labels of a container's writable layer: they keep it until
// there is a record that refers to it, and not after a program that never made one.
// lasting tells that it may outlast the program.
func LayerLabels(id string, lasting bool) map[string]string {
	labels := OwnRoot()
	labels[layerLabel] = id
	if !lasting {
		labels[ScratchLabel] = "true"
	}
	return labels
}

// layerPart is a container's writable layer.
type layerPart struct{ e *Engine }

func (layerPart) String() string { return "writable layer" }

// Remove implements Part. One made by a snapshotter that this host does not have
// is out of reach.
func (p layerPart) Remove(ctx context.Context, c containers.Container) error {
	for _, name := range p.of(c) {
		sn := p.e.Client.SnapshotService(name)
		if err := sn.Remove(ctx, c.ID); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err := removeViews(ctx, sn, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// removeViews removes what a container has of the images that it has mounted. Most have
// none, and to look takes no turn with those that write.
func removeViews(ctx context.Context, sn snapshots.Snapshotter, id string) error {
	for n := 0; ; n++ {
		_, err := sn.Stat(ctx, ViewKey(id, n))
		if err == nil {
			err = sn.Remove(ctx, ViewKey(id, n))
		}
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// quotaPart is the bound of a container's disk that the kernel keeps.
type quotaPart struct{ e *Engine }

func (quotaPart) String() string { return "quota" }

// Remove implements Part.
func (p quotaPart) Remove(_ context.Context, c containers.Container) error {
	if r, _ := record.Of(c); r.Quota != 0 {
		return quota.Drop(p.e.Root, r.Quota)
	}
	return nil
}

// Orphans implements Part: a bound of nothing is in nobody's way.
func (quotaPart) Orphans(context.Context) ([]string, error) { return nil, nil }

// ViewKey names the snapshot of the nth image that a container has mounted.
func ViewKey(id string, n int) string { return fmt.Sprintf("%s-image-%d", id, n) }

// ViewLabels are the labels of such a snapshot. It goes with the container.
func ViewLabels(id string) map[string]string {
	labels := OwnRoot()
	labels[layerLabel] = id
	return labels
}

// of names the snapshotters that may have a container's layer.
func (p layerPart) of(c containers.Container) []string {
	if !p.e.Backend.Reaches(c.Snapshotter) || c.Snapshotter == "" {
		return p.e.Snapshotters
	}
	return []string{c.Snapshotter}
}

// Orphans implements Part: layers whose container never got a record.
func (p layerPart) Orphans(ctx context.Context) (ids []string, err error) {
	err = p.e.ownerless(ctx, func(_ string, i snapshots.Info) error {
		if i.Labels[layerLabel] == i.Name {
			ids = append(ids, i.Name)
		}
		return nil
	})
	return ids, err
}

// sweepViews removes the snapshots that calls have made for themselves.
func (e *Engine) sweepViews(ctx context.Context) error {
	return e.ownerless(ctx, func(snapshotter string, i snapshots.Info) error {
		if i.Labels[layerLabel] == i.Name {
			return nil
		}
		err := e.Client.SnapshotService(snapshotter).Remove(ctx, i.Name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// ownerless finds the snapshots whose owner is gone, and that no container has.
func (e *Engine) ownerless(ctx context.Context, found func(snapshotter string, i snapshots.Info) error) error {
	var errs []error
	for _, name := range e.Snapshotters {
		var all []snapshots.Info
		err := e.Client.SnapshotService(name).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			if e.orphan(i.Labels[OwnerLabel]) {
				all = append(all, i)
			}
			return nil
		}, fmt.Sprintf("labels.%q", OwnerLabel))
		errs = append(errs, err)
		for _, i := range all {
			_, err := e.Client.ContainerService().Get(ctx, cmp.Or(i.Labels[layerLabel], i.Name))
			if errdefs.IsNotFound(err) {
				err = found(name, i)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
