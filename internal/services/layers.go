package services

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// layers is the overlay snapshotter, except for the writable layers of containers
// that end with this program. Those carry a label; each is two directories and no
// record. A program that was killed has no use for them, and in the two databases
// each would cost twelve writes that wait for the disk.
type layers struct {
	overlay snapshots.Snapshotter
	dir     string
	label   string // of layers to be held
	bases   *bases
	trash   rootfs.Trash // of layers that were removed

	mu   sync.Mutex
	last int               // the last number given
	held map[string]*layer // by namespace/key; nil: being made
}

// newLayers puts layers before the overlay snapshotter, and removes what an
// earlier program left in dir.
func newLayers(overlay snapshots.Snapshotter, dir, label, owner string) (*layers, error) {
	if err := rootfs.Discard(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &layers{
		overlay: overlay, dir: dir, label: label,
		bases: newBases(overlay, owner), held: map[string]*layer{},
	}, nil
}

// Close implements snapshots.Snapshotter: the overlay snapshotter ends with the
// engine, and not with a client.
func (*layers) Close() error { return nil }

// Prepare implements snapshots.Snapshotter.
func (l *layers) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	k, err := l.name(ctx, key, parent)
	if err != nil {
		return nil, err
	}
	info := snapshots.Info{Name: key, Parent: parent, Kind: snapshots.KindActive}
	for _, o := range opts {
		if err := o(&info); err != nil {
			l.release(k)
			return nil, err
		}
	}
	if !l.holds(info) {
		defer l.release(k)
		return l.overlay.Prepare(ctx, key, parent, opts...)
	}
	made, err := l.prepare(ctx, info)
	if err != nil {
		l.release(k)
		return nil, err
	}
	l.put(k, made)
	return made.mounts, nil
}

// holds reports whether a layer is to be held. A layer with instructions for the
// snapshotter, such as to map ids, is made by the snapshotter.
func (l *layers) holds(info snapshots.Info) bool {
	return info.Labels[l.label] != "" && info.Parent != "" && len(snapshots.FilterInheritedLabels(info.Labels)) == 0
}

// View implements snapshots.Snapshotter.
func (l *layers) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	k, err := l.name(ctx, key, parent)
	if err != nil {
		return nil, err
	}
	defer l.release(k)
	return l.overlay.View(ctx, key, parent, opts...)
}

// name reserves the name of a snapshot that is to be made on parent.
func (l *layers) name(ctx context.Context, key, parent string) (string, error) {
	k, err := recordKey(ctx, key)
	if err != nil {
		return "", err
	}
	if l.find(ctx, parent) != nil {
		return "", fmt.Errorf("parent %q is not committed: %w", parent, errdefs.ErrInvalidArgument)
	}
	// The first caller gets the name in both places. Otherwise, of two callers at
	// once, the one that fails would remove the other's layer as its own.
	if !l.reserve(k) {
		return "", exists(key)
	}
	return k, nil
}

// Mounts implements snapshots.Snapshotter.
func (l *layers) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	if h := l.find(ctx, key); h != nil {
		return h.mounts, nil
	}
	if err := l.hidden(ctx, key); err != nil {
		return nil, err
	}
	return l.overlay.Mounts(ctx, key)
}

// Stat implements snapshots.Snapshotter.
func (l *layers) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	if h := l.find(ctx, key); h != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return h.copy(), nil
	}
	if err := l.hidden(ctx, key); err != nil {
		return snapshots.Info{}, err
	}
	return l.overlay.Stat(ctx, key)
}

// Usage implements snapshots.Snapshotter.
func (l *layers) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	if h := l.find(ctx, key); h != nil {
		u, err := fs.DiskUsage(ctx, filepath.Join(h.dir, upper))
		return snapshots.Usage(u), err
	}
	if err := l.hidden(ctx, key); err != nil {
		return snapshots.Usage{}, err
	}
	return l.overlay.Usage(ctx, key)
}

// Update implements snapshots.Snapshotter. Of a held layer labels can be
// changed, but for the one by which it is held.
func (l *layers) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	h := l.find(ctx, info.Name)
	if h == nil {
		if err := l.hidden(ctx, info.Name); err != nil {
			return snapshots.Info{}, err
		}
		return l.overlay.Update(ctx, info, fields...)
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

// Commit implements snapshots.Snapshotter. A held layer becomes a snapshot in the
// database.
func (l *layers) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	n, err := l.name(ctx, name, "")
	if err != nil {
		return err
	}
	defer l.release(n)
	if err := l.hidden(ctx, key); err != nil {
		return err
	}
	k, h := l.take(ctx, key)
	if h == nil {
		return l.overlay.Commit(ctx, name, key, opts...)
	}
	if err := l.hand(ctx, h, name, opts); err != nil {
		l.put(k, h)
		return fmt.Errorf("commit snapshot %q: %w", key, err)
	}
	defer l.bases.leave(h.base)
	l.release(k)
	return rootfs.Discard(h.dir)
}

// Remove implements snapshots.Snapshotter. The directories of a held layer go after
// the answer.
func (l *layers) Remove(ctx context.Context, key string) error {
	if err := l.hidden(ctx, key); err != nil {
		return err
	}
	k, h := l.take(ctx, key)
	if h == nil {
		return l.removeCommitted(ctx, key)
	}
	l.trash.Put(h.dir)
	l.release(k)
	l.bases.leave(h.base)
	return nil
}

// removeCommitted removes a snapshot from the database. A base that no container
// uses any more does not keep it: users don't see bases.
func (l *layers) removeCommitted(ctx context.Context, key string) error {
	err := l.overlay.Remove(ctx, key)
	if !errdefs.IsFailedPrecondition(err) {
		return err
	}
	dropped, derr := l.bases.dropChain(ctx, key)
	if derr != nil {
		return errors.Join(err, derr)
	}
	if dropped {
		return l.overlay.Remove(ctx, key)
	}
	return err
}

// hidden gives an error for a snapshot that is only a base's.
func (l *layers) hidden(ctx context.Context, key string) error {
	if l.bases.keeps(ctx, key) {
		return fmt.Errorf("snapshot %q: %w", key, errdefs.ErrNotFound)
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
	err = l.overlay.Walk(ctx, func(ctx context.Context, info snapshots.Info) error {
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
