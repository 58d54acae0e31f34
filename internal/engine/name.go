package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/record"
)

// A container's name is claimed by a lease that bears it. The database makes a
// lease once, whichever programs ask for it at the same moment; the lease keeps
// nothing else. The names of containers that end with an engine of its own
// services are in memory, like all that is those containers' alone.

// nameLabel says which container has the name of a lease.
const nameLabel = "io.ctor.name"

// nameLease is the lease of a name.
func nameLease(name string) string { return "ctor.name." + name }

// names are those that are held in memory. The zero value is ready.
type names struct {
	mu sync.Mutex
	id map[string]string   // by name
	of map[string][]string // names by id, also of a container that has none
}

// put gives a container a name, or says that it has none.
func (n *names) put(id, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id == nil {
		n.id, n.of = map[string]string{}, map[string][]string{}
	}
	if name == "" {
		n.of[id] = nil
		return
	}
	n.id[name] = id
	n.of[id] = append(n.of[id], name)
}

func (n *names) get(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id[name]
}

// take takes a name from a container, and tells whether it had it.
func (n *names) take(id, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id[name] != id {
		return false
	}
	delete(n.id, name)
	n.of[id] = slices.DeleteFunc(n.of[id], func(s string) bool { return s == name })
	return true
}

// drop forgets a container, and tells whether it was known.
func (n *names) drop(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	all, ok := n.of[id]
	for _, name := range all {
		delete(n.id, name)
	}
	delete(n.of, id)
	return ok
}

var errTaken = fmt.Errorf("the name is taken: %w", errdefs.ErrAlreadyExists)

// Claim gives a container a name, beside one that it has; "" is none. It fails
// with ErrAlreadyExists where another container is called that, by its name or
// by its id. lasting tells that the container may outlive the program.
func (e *Engine) Claim(ctx context.Context, id, name string, lasting bool) error {
	fleeting := e.Backend.Sole() && !lasting
	if name == "" {
		if fleeting {
			e.names.put(id, "")
		}
		return nil
	}
	key := "name " + name
	if err := e.Lock(ctx, key); err != nil {
		return err
	}
	defer e.Unlock(key)
	switch has, err := e.Named(ctx, name); {
	case err == nil && has == id:
		return nil
	case err == nil:
		return errTaken
	case !errdefs.IsNotFound(err):
		return err
	}
	if _, err := e.Client.ContainerService().Get(ctx, name); err == nil {
		return errTaken
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	if fleeting {
		e.names.put(id, name)
		return nil
	}
	_, err := e.Client.LeasesService().Create(ctx, leases.WithID(nameLease(name)),
		leases.WithLabels(map[string]string{nameLabel: id, OwnerLabel: Owner()}))
	if errdefs.IsAlreadyExists(err) {
		return errTaken // by another program
	}
	return err
}

// Named gives the id of the container that has claimed a name.
func (e *Engine) Named(ctx context.Context, name string) (id string, err error) {
	if id := e.names.get(name); id != "" {
		return id, nil
	}
	found, err := e.Client.LeasesService().List(ctx, fmt.Sprintf("id==%q", nameLease(name)))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("name %q: %w", name, errdefs.ErrNotFound)
	}
	return found[0].Labels[nameLabel], nil
}

// Release gives back a name that a container has claimed.
func (e *Engine) Release(ctx context.Context, id, name string) error {
	if name == "" || e.names.take(id, name) {
		return nil
	}
	has, err := e.Named(ctx, name)
	if err == nil && has == id {
		err = e.Client.LeasesService().Delete(ctx, leases.Lease{ID: nameLease(name)})
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Find gives the record of a container. No container has a name that is another's id.
func (e *Engine) Find(ctx context.Context, idOrName string) (containers.Container, error) {
	store := e.Client.ContainerService()
	c, err := store.Get(ctx, idOrName)
	if !errdefs.IsNotFound(err) {
		return c, err
	}
	id, err := e.Named(ctx, idOrName)
	if err != nil {
		return c, err
	}
	if c, err = store.Get(ctx, id); err != nil {
		return c, err
	}
	if r, _ := record.Of(c); r.Name != idOrName {
		return c, errdefs.ErrNotFound // it is being renamed
	}
	return c, nil
}

// Rename claims a container's new name before it gives back the old one: at no
// moment has the container none. elsewhere renames it where this program has its
// name as well. done tells whether it has the new one.
func (e *Engine) Rename(ctx context.Context, id, name string, lasting bool, elsewhere func(name string) error) (done bool, err error) {
	key := "rename " + id
	if err := e.Lock(ctx, key); err != nil {
		return false, err
	}
	defer e.Unlock(key)
	c, err := e.Client.ContainerService().Get(ctx, id)
	if err != nil {
		return false, err
	}
	old, _ := record.Of(c)
	if old.Name == name {
		return true, nil
	}
	if err := e.Claim(ctx, id, name, lasting); err != nil {
		return false, err
	}
	ctx, cancel := e.Cleanup(ctx) // from here on it is done, or undone
	defer cancel()
	if err := elsewhere(name); err != nil {
		return false, errors.Join(err, e.Release(ctx, id, name))
	}
	if _, err := e.Note(ctx, id, func(r *record.Record) { r.Name = name }); err != nil {
		return false, errors.Join(err, elsewhere(old.Name), e.Release(ctx, id, name))
	}
	return true, e.Release(ctx, id, old.Name)
}

// namePart is the name, or, of a container that was being renamed, both.
type namePart struct{ e *Engine }

func (namePart) String() string { return "name" }

// Remove implements Part.
func (p namePart) Remove(ctx context.Context, c containers.Container) error {
	if p.e.names.drop(c.ID) {
		return nil
	}
	m := p.e.Client.LeasesService()
	claims, err := m.List(ctx, fmt.Sprintf("labels.%q==%q", nameLabel, c.ID))
	errs := []error{err}
	for _, l := range claims {
		if err := m.Delete(ctx, leases.Lease{ID: l.ID}); !errdefs.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Orphans implements Part.
func (p namePart) Orphans(ctx context.Context) (ids []string, err error) {
	err = p.e.orphanNames(ctx, func(l leases.Lease, _ record.Record, err error) error {
		if errdefs.IsNotFound(err) {
			ids = append(ids, l.Labels[nameLabel])
			return nil
		}
		return err
	})
	return ids, err
}

// sweepNames gives back the names of containers that have another one: their
// program was killed while it renamed them.
func (e *Engine) sweepNames(ctx context.Context) error {
	return e.orphanNames(ctx, func(l leases.Lease, r record.Record, err error) error {
		if err == nil && l.ID != nameLease(r.Name) {
			err = e.Client.LeasesService().Delete(ctx, leases.Lease{ID: l.ID})
		}
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// orphanNames looks up the containers of names that were claimed by programs
// that are gone.
func (e *Engine) orphanNames(ctx context.Context, found func(leases.Lease, record.Record, error) error) error {
	claims, err := e.Client.LeasesService().List(ctx, fmt.Sprintf("labels.%q", nameLabel))
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range claims {
		if !e.orphan(l.Labels[OwnerLabel]) {
			continue
		}
		c, err := e.Client.ContainerService().Get(ctx, l.Labels[nameLabel])
		r, _ := record.Of(c)
		errs = append(errs, found(l, r, err))
	}
	return errors.Join(errs...)
}
