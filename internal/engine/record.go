package engine

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/record"
)

// recordPart is what the databases say of a container.
type recordPart struct{ e *Engine }

func (recordPart) String() string { return "record" }

// Remove implements Part.
func (p recordPart) Remove(ctx context.Context, c containers.Container) error {
	if err := p.e.Client.ContainerService().Delete(ctx, c.ID); !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Orphans implements Part: containers whose owner is gone.
func (p recordPart) Orphans(ctx context.Context) (ids []string, err error) {
	all, err := p.e.Client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if r, _ := record.Of(c); r.Owner != "" && p.e.orphan(r.Owner) {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

// Note changes the record of a container, which one call at a time does. Over
// a containerd that runs, another program may do so at the same moment, and the
// later one of the two then counts.
func (e *Engine) Note(ctx context.Context, id string, change func(*record.Record)) (c containers.Container, err error) {
	key := "record " + id
	if err := e.Lock(ctx, key); err != nil {
		return c, err
	}
	defer e.Unlock(key)
	store := e.Client.ContainerService()
	if c, err = store.Get(ctx, id); err != nil {
		return c, err
	}
	r, ok := record.Of(c)
	if !ok {
		return c, fmt.Errorf("container %s has no record of this module: %w", id, errdefs.ErrFailedPrecondition)
	}
	change(&r)
	if err := r.Put(&c); err != nil {
		return c, err
	}
	return store.Update(ctx, c, record.Field)
}
