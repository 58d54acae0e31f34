package services

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/ctorhq/ctor/internal/record"
)

// records is the container store. The records of containers that end with
// this program, which say so, are held in memory: a program that was killed has
// no use for them, and in the database each would cost eight writes that wait
// for the disk. When a record names no owner any more, it goes into the
// database.
type records struct {
	db     containers.Store
	events *exchange

	mu    sync.Mutex
	held  map[string]containers.Container // by namespace/id
	taken map[string]bool                 // names that a create or update works on, likewise
}

var _ containers.Store = (*records)(nil)

func newRecords(db containers.Store, events *exchange) *records {
	return &records{db: db, events: events, held: map[string]containers.Container{}, taken: map[string]bool{}}
}

// owned reports whether a container ends with a program.
func owned(c containers.Container) bool {
	r, _ := record.Of(c)
	return r.Owner != ""
}

func recordKey(ctx context.Context, id string) (string, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	return ns + "/" + id, err
}

// Get implements containers.Store.
func (r *records) Get(ctx context.Context, id string) (containers.Container, error) {
	k, err := recordKey(ctx, id)
	if err != nil {
		return containers.Container{}, err
	}
	r.mu.Lock()
	c, ok := r.held[k]
	r.mu.Unlock()
	if ok {
		return cloned(c), nil
	}
	return r.db.Get(ctx, id)
}

// List implements containers.Store.
func (r *records) List(ctx context.Context, fs ...string) ([]containers.Container, error) {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	list, err := r.db.List(ctx, fs...)
	if err != nil {
		return nil, err
	}
	prefix, err := recordKey(ctx, "")
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	for k, c := range r.held {
		if strings.HasPrefix(k, prefix) && filter.Match(adapt(c)) {
			list = append(list, cloned(c))
		}
	}
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b containers.Container) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Create implements containers.Store.
func (r *records) Create(ctx context.Context, c containers.Container) (_ containers.Container, err error) {
	k, err := recordKey(ctx, c.ID)
	if err != nil {
		return containers.Container{}, err
	}
	// The first caller gets the name in both places.
	if !r.take(k) {
		return containers.Container{}, fmt.Errorf("container %q: %w", c.ID, errdefs.ErrAlreadyExists)
	}
	defer r.release(k)
	if !owned(c) {
		c, err = r.db.Create(ctx, c)
	} else {
		c, err = r.hold(ctx, k, c)
	}
	if err != nil {
		return containers.Container{}, err
	}
	return c, r.events.Publish(ctx, "/containers/create", &eventtypes.ContainerCreate{
		ID: c.ID, Image: c.Image,
		Runtime: &eventtypes.ContainerCreate_Runtime{Name: c.Runtime.Name, Options: typeurl.MarshalProto(c.Runtime.Options)},
	})
}

func (r *records) hold(ctx context.Context, k string, c containers.Container) (containers.Container, error) {
	if err := valid(c); err != nil {
		return c, err
	}
	if _, err := r.db.Get(ctx, c.ID); !errdefs.IsNotFound(err) {
		if err == nil {
			err = fmt.Errorf("container %q: %w", c.ID, errdefs.ErrAlreadyExists)
		}
		return c, err
	}
	c.CreatedAt = time.Now().UTC()
	c.UpdatedAt = c.CreatedAt
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[k] = cloned(c)
	return c, nil
}

// take reserves a name, unless another container, held or not, has it.
func (r *records) take(k string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, held := r.held[k]; held || r.taken[k] {
		return false
	}
	r.taken[k] = true
	return true
}

func (r *records) release(k string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, k)
}

// valid checks what the database would check.
func valid(c containers.Container) error {
	if err := identifiers.Validate(c.ID); err != nil {
		return fmt.Errorf("container id: %w", err)
	}
	for k, v := range c.Labels {
		if err := labels.Validate(k, v); err != nil {
			return fmt.Errorf("container %q: %w", c.ID, err)
		}
	}
	if c.Runtime.Name == "" || c.Spec == nil || c.SnapshotKey != "" && c.Snapshotter == "" {
		return fmt.Errorf("container %q: runtime, spec and snapshotter are needed: %w", c.ID, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Update implements containers.Store.
func (r *records) Update(ctx context.Context, c containers.Container, fields ...string) (containers.Container, error) {
	k, err := recordKey(ctx, c.ID)
	if err != nil {
		return containers.Container{}, err
	}
	old, held := c, false
	if c, held, err = r.updateHeld(k, c, fields); !held {
		c, err = r.db.Update(ctx, old, fields...)
	} else if err == nil && !owned(c) {
		c, err = r.keep(ctx, k, c)
	}
	if err != nil {
		return containers.Container{}, err
	}
	return c, r.events.Publish(ctx, "/containers/update", &eventtypes.ContainerUpdate{
		ID: c.ID, Image: c.Image, Labels: c.Labels, SnapshotKey: c.SnapshotKey,
	})
}

// updateHeld changes a record that is held; it reports whether it is. Without
// an owner it is only changed, for keep.
func (r *records) updateHeld(k string, c containers.Container, fields []string) (containers.Container, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, held := r.held[k]
	if !held {
		return c, false, nil
	}
	c, err := merged(cloned(old), c, fields)
	if err == nil {
		err = valid(c)
	}
	if err == nil && owned(c) {
		c.UpdatedAt = time.Now().UTC()
		r.held[k] = cloned(c)
	}
	return c, true, err
}

// keep puts a record that was held into the database.
func (r *records) keep(ctx context.Context, k string, c containers.Container) (containers.Container, error) {
	c, err := r.db.Create(ctx, c)
	if err != nil {
		return c, err
	}
	r.mu.Lock()
	_, there := r.held[k]
	delete(r.held, k)
	r.mu.Unlock()
	if !there { // it was deleted meanwhile
		err = fmt.Errorf("container %q: %w", c.ID, errdefs.ErrNotFound)
		return c, errors.Join(err, r.db.Delete(context.WithoutCancel(ctx), c.ID))
	}
	return c, nil
}

// merged lays the named fields of c over old; no names mean all fields that may
// change.
func merged(old, c containers.Container, fields []string) (containers.Container, error) {
	if len(fields) == 0 {
		fields = []string{"labels", "spec", "extensions", "image", "snapshotkey"}
	}
	for _, f := range fields {
		name, entry, _ := strings.Cut(f, ".")
		switch {
		case name == "labels" && entry != "":
			if old.Labels == nil {
				old.Labels = map[string]string{}
			}
			old.Labels[entry] = c.Labels[entry]
			if c.Labels[entry] == "" {
				delete(old.Labels, entry)
			}
		case name == "labels":
			old.Labels = maps.Clone(c.Labels)
		case name == "extensions" && entry != "":
			if old.Extensions == nil {
				old.Extensions = map[string]typeurl.Any{}
			}
			old.Extensions[entry] = c.Extensions[entry]
		case name == "extensions":
			old.Extensions = maps.Clone(c.Extensions)
		case f == "spec":
			old.Spec = c.Spec
		case f == "image":
			old.Image = c.Image
		case f == "snapshotkey":
			old.SnapshotKey = c.SnapshotKey
		default:
			return old, fmt.Errorf("field %q of container %q can't be changed: %w", f, c.ID, errdefs.ErrInvalidArgument)
		}
	}
	return old, nil
}

// Delete implements containers.Store.
func (r *records) Delete(ctx context.Context, id string) error {
	k, err := recordKey(ctx, id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	_, held := r.held[k]
	delete(r.held, k)
	r.mu.Unlock()
	if !held {
		if err := r.db.Delete(ctx, id); err != nil {
			return err
		}
	}
	return r.events.Publish(ctx, "/containers/delete", &eventtypes.ContainerDelete{ID: id})
}

func cloned(c containers.Container) containers.Container {
	c.Labels, c.Extensions = maps.Clone(c.Labels), maps.Clone(c.Extensions)
	return c
}

// adapt lets filters see the fields that the database's do.
func adapt(c containers.Container) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		switch {
		case len(path) == 1 && path[0] == "id":
			return c.ID, c.ID != ""
		case len(path) == 1 && path[0] == "image":
			return c.Image, c.Image != ""
		case len(path) == 2 && path[0] == "runtime" && path[1] == "name":
			return c.Runtime.Name, c.Runtime.Name != ""
		case len(path) > 1 && path[0] == "labels":
			v, ok := c.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}
