package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/record"
)

// Origin is the image that a container is an instance of: the name that it was made by,
// and the digest of its manifest.
type Origin struct{ Ref, Image string }

// Rebase has move put other layers below a container's writable one, while the
// container has no process and none can begin. move tells whose they are. A container
// that has a process, or whose files are to outlive a killed program at any moment, is
// ErrNotStill. Package container sets it, for package image.
var Rebase func(ctx context.Context, container any, move func(ctx context.Context, c containers.Container) (Origin, error)) error

// Hold has do done while no life of a container begins, and it is not removed; the end of
// one that runs is not held up. Close and Remove end the ctx of do, and wait for it. It
// may be started by a policy until Hold has it. Package container sets it, likewise.
var Hold func(ctx context.Context, container any, do func(ctx context.Context) error) error

// ErrNotStill is that a container can't be rebased.
var ErrNotStill = errors.New("it may write to its layer")

// SetOrigin notes in a container's record what image it is an instance of, and keeps that
// as KeepOrigin does.
func (e *Engine) SetOrigin(ctx context.Context, id string, o Origin) (containers.Container, error) {
	c, err := e.Note(ctx, id, func(r *record.Record) { r.Ref, r.Image = o.Ref, o.Image })
	if err != nil {
		return c, err
	}
	c.Image = o.Ref
	if c, err = e.Client.ContainerService().Update(ctx, c, "image"); err != nil {
		return c, err
	}
	return c, e.KeepOrigin(ctx, id, o.Image)
}

// KeepOrigin keeps the manifest of the image that a container is an instance of, and what
// that lists, as long as the container, whatever its name comes to mean.
func (e *Engine) KeepOrigin(ctx context.Context, id, image string) error {
	m, l := e.Client.LeasesService(), originLease(id)
	_, err := m.Create(ctx, leases.WithID(l.ID), leases.WithLabel(originLabel, id))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keep image %s: %w", image, err)
	}
	e.origins.Store(id, nil)
	now := leases.Resource{Type: "content", ID: image}
	if err := m.AddResource(ctx, l, now); err != nil {
		return fmt.Errorf("keep image %s: %w", image, err)
	}
	all, err := m.ListResources(ctx, l)
	for _, r := range all {
		if err == nil && r != now {
			err = m.DeleteResource(ctx, l, r)
		}
	}
	// Who removes the container later finds the lease.
	if _, gerr := e.Client.ContainerService().Get(ctx, id); errdefs.IsNotFound(gerr) {
		err = errors.Join(err, gerr, originPart{e}.Remove(ctx, containers.Container{ID: id}))
	}
	return err
}

// originLabel marks the leases that keep images of containers.
const originLabel = "io.ctor.origin"

func originLease(id string) leases.Lease { return leases.Lease{ID: "ctor-origin-" + id} }

// originPart is the lease that keeps a container's image, of the few that have one.
type originPart struct{ e *Engine }

func (originPart) String() string { return "lease on the image" }

// Remove implements Part. Of an attached container this program knows whether there is one.
func (p originPart) Remove(ctx context.Context, c containers.Container) error {
	if r, ok := record.Of(c); ok && !r.Detached && !r.Kept {
		if _, has := p.e.origins.Load(c.ID); !has {
			return nil
		}
	}
	err := p.e.Client.LeasesService().Delete(ctx, originLease(c.ID))
	if err == nil || errdefs.IsNotFound(err) {
		p.e.origins.Delete(c.ID)
		return nil
	}
	return err
}

// Orphans implements Part: leases of containers that are gone.
func (p originPart) Orphans(ctx context.Context) (ids []string, err error) {
	list, err := p.e.Client.LeasesService().List(ctx, fmt.Sprintf("labels.%q", originLabel))
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		id := l.Labels[originLabel]
		if _, err := p.e.Client.ContainerService().Get(ctx, id); errdefs.IsNotFound(err) {
			ids = append(ids, id)
		} else if err != nil {
			return nil, err
		}
	}
	return ids, nil
}
