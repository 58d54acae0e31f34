package services

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// layers is the overlay snapshotter, but for the writable layers of containers
// that end with this program, which carry a label: each is two directories and
// no record. A program that was killed has no use for them, and in the two
// databases each would cost twelve writes that wait for the disk.
type layers struct {
	snapshots.Snapshotter
	dir   string
	label string // of layers to be held
	bases *bases

	mu   sync.Mutex
	last int               // the last directory's number
	held map[string]*layer // by namespace/key; nil: being made
}

type layer struct {
	info   snapshots.Info
	base   *base
	dir    string
	mounts []mount.Mount
}

const (
	upper = "fs"
	work  = "work"
)

// newLayers makes it over the real one. What an earlier program left in dir is
// removed.
func newLayers(overlay snapshots.Snapshotter, dir, label, owner string) (*layers, error) {
	if err := rootfs.Discard(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &layers{
		Snapshotter: overlay, dir: dir, label: label,
		bases: newBases(overlay, owner), held: map[string]*layer{},
	}, nil
}

// Prepare implements snapshots.Snapshotter.
func (l *layers) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	k, err := recordKey(ctx, key)
	if err != nil {
		return nil, err
	}
	info := snapshots.Info{Name: key, Parent: parent, Kind: snapshots.KindActive}
	for _, o := range opts {
		if err := o(&info); err != nil {
			return nil, err
		}
	}
	// Whoever is first has the name in both places: the loser of two at once
	// would else remove what it takes for its own.
	if !l.reserve(k) {
		return nil, exists(key)
	}
	if info.Labels[l.label] == "" || parent == "" {
		defer l.release(k)
		return l.Snapshotter.Prepare(ctx, key, parent, opts...)
	}
	made, err := l.prepare(ctx, info)
	if err != nil {
		l.release(k)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[k] = made
	return made.mounts, nil
}

func (l *layers) prepare(ctx context.Context, info snapshots.Info) (*layer, error) {
	if _, err := l.Snapshotter.Stat(ctx, info.Name); err == nil {
		return nil, exists(info.Name)
	} else if !errdefs.IsNotFound(err) {
		return nil, err
	}
	made, err := l.make(ctx, info)
	if err != nil {
		return nil, fmt.Errorf("layer of %s: %w", info.Name, err)
	}
	return made, nil
}

func exists(key string) error { return fmt.Errorf("snapshot %q: %w", key, errdefs.ErrAlreadyExists) }

func (l *layers) release(k string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, k)
}

func (l *layers) reserve(k string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.held[k]; taken {
		return false
	}
	l.held[k] = nil
	return true
}

func (l *layers) make(ctx context.Context, info snapshots.Info) (_ *layer, err error) {
	for k, v := range info.Labels {
		if err := labels.Validate(k, v); err != nil {
			return nil, err
		}
	}
	b, err := l.bases.use(ctx, info.Parent)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.last++
	n := l.last
	l.mu.Unlock()
	info.Created = time.Now().UTC()
	info.Updated = info.Created
	made := &layer{info: info, base: b, dir: filepath.Join(l.dir, strconv.Itoa(n))}
	if made.mounts, err = b.under(made.dir); err != nil {
		err = errors.Join(err, os.RemoveAll(made.dir))
		l.bases.leave(b)
		return nil, err
	}
	return made, nil
}

// find gives a held layer, nil if there is none.
func (l *layers) find(ctx context.Context, key string) *layer {
	k, err := recordKey(ctx, key)
	if err != nil {
		return nil // the real one says so
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[k]
}

// Mounts implements snapshots.Snapshotter.
func (l *layers) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	if h := l.find(ctx, key); h != nil {
		return h.mounts, nil
	}
	return l.Snapshotter.Mounts(ctx, key)
}

// Stat implements snapshots.Snapshotter.
func (l *layers) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	if h := l.find(ctx, key); h != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return h.copy(), nil
	}
	return l.Snapshotter.Stat(ctx, key)
}

func (h *layer) copy() snapshots.Info {
	info := h.info
	info.Labels = maps.Clone(info.Labels)
	return info
}

// Usage implements snapshots.Snapshotter.
func (l *layers) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	if h := l.find(ctx, key); h != nil {
		u, err := fs.DiskUsage(ctx, filepath.Join(h.dir, upper))
		return snapshots.Usage(u), err
	}
	return l.Snapshotter.Usage(ctx, key)
}

// Update implements snapshots.Snapshotter. Of a held layer labels can be
// changed, but for the one by which it is held.
func (l *layers) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	h := l.find(ctx, info.Name)
	if h == nil {
		return l.Snapshotter.Update(ctx, info, fields...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := h.copy()
	if len(fields) == 0 {
		fields = []string{"labels"}
	}
	for _, f := range fields {
		name, entry, _ := strings.Cut(f, ".")
		switch {
		case name == "labels" && entry != "":
			now.Labels[entry] = info.Labels[entry]
			if now.Labels[entry] == "" {
				delete(now.Labels, entry)
			}
		case name == "labels":
			now.Labels = maps.Clone(info.Labels)
		default:
			return now, fmt.Errorf("field %q of snapshot %q can't be changed: %w", f, info.Name, errdefs.ErrInvalidArgument)
		}
	}
	if now.Labels[l.label] == "" {
		return now, fmt.Errorf("snapshot %q ends with the program: %w", info.Name, errdefs.ErrFailedPrecondition)
	}
	now.Updated = time.Now().UTC()
	h.info = now
	return h.copy(), nil
}

// Commit implements snapshots.Snapshotter. A held layer can't become a part of
// an image as it is, only by a copy of it, as image.Commit makes.
func (l *layers) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	if l.find(ctx, key) != nil {
		return fmt.Errorf("snapshot %q ends with the program, and can't be committed: %w", key, errdefs.ErrFailedPrecondition)
	}
	return l.Snapshotter.Commit(ctx, name, key, opts...)
}

// Remove implements snapshots.Snapshotter. The directories of a held layer are
// removed at once.
func (l *layers) Remove(ctx context.Context, key string) error {
	h := l.find(ctx, key)
	if h == nil {
		return l.Snapshotter.Remove(ctx, key)
	}
	if err := rootfs.Discard(h.dir); err != nil {
		return fmt.Errorf("remove snapshot %q: %w", key, err)
	}
	k, _ := recordKey(ctx, key) // find has checked it
	l.mu.Lock()
	mine := l.held[k] == h // else another call was here first
	if mine {
		delete(l.held, k)
	}
	l.mu.Unlock()
	if mine {
		l.bases.leave(h.base)
	}
	return nil
}

// Walk implements snapshots.Snapshotter. What bases keep is not shown.
func (l *layers) Walk(ctx context.Context, fn snapshots.WalkFunc, fs ...string) error {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	prefix, err := recordKey(ctx, "")
	if err != nil {
		return err
	}
	err = l.Snapshotter.Walk(ctx, func(ctx context.Context, info snapshots.Info) error {
		if l.bases.keeps(ctx, info.Name) {
			return nil
		}
		return fn(ctx, info)
	}, fs...)
	if err != nil {
		return err
	}
	var found []snapshots.Info
	l.mu.Lock()
	for k, h := range l.held {
		if h != nil && strings.HasPrefix(k, prefix) && filter.Match(adaptSnapshot(h.info)) {
			found = append(found, h.copy())
		}
	}
	l.mu.Unlock()
	for _, info := range found {
		if err := fn(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// adaptSnapshot lets filters see the fields that the database's do.
func adaptSnapshot(info snapshots.Info) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		switch {
		case len(path) == 1 && path[0] == "kind":
			return strings.ToLower(info.Kind.String()), true
		case len(path) == 1 && path[0] == "name":
			return info.Name, true
		case len(path) == 1 && path[0] == "parent":
			return info.Parent, info.Parent != ""
		case len(path) > 1 && path[0] == "labels":
			v, ok := info.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}
