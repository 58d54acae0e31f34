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
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// layer is a writable layer that is held in memory.
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

func (l *layers) prepare(ctx context.Context, info snapshots.Info) (*layer, error) {
	if _, err := l.overlay.Stat(ctx, info.Name); err == nil {
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
	info.Created = time.Now().UTC()
	info.Updated = info.Created
	made := &layer{info: info, base: b, dir: filepath.Join(l.dir, strconv.Itoa(l.next()))}
	if made.mounts, err = b.under(made.dir); err != nil {
		err = errors.Join(err, os.RemoveAll(made.dir))
		l.bases.leave(b)
		return nil, err
	}
	return made, nil
}

// next gives the number of the next layer.
func (l *layers) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.last
}

// put makes a layer known by the name that is reserved for it.
func (l *layers) put(k string, h *layer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[k] = h
}

// take gives a held layer, for one caller alone; its name stays reserved.
func (l *layers) take(ctx context.Context, key string) (k string, h *layer) {
	k, err := recordKey(ctx, key)
	if err != nil {
		return "", nil // the snapshotter itself reports that
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h = l.held[k]; h != nil {
		l.held[k] = nil
	}
	return k, h
}

// hand turns a layer that was taken into a snapshot in the database, with the
// layer's files.
func (l *layers) hand(ctx context.Context, h *layer, name string, opts []snapshots.Opt) (err error) {
	key := fmt.Sprintf("io.ctor.layer:%d", l.next()) // no container can have that name
	made, err := l.overlay.Prepare(ctx, key, h.info.Parent, snapshots.WithLabels(map[string]string{
		"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339),
		l.bases.owner:           key, // until it is committed
	}))
	if err != nil {
		return err
	}
	from, to := filepath.Join(h.dir, upper), rootfs.Upper(made)
	if err = os.Remove(to); err == nil {
		err = os.Rename(from, to)
	}
	if err != nil {
		return errors.Join(err, l.overlay.Remove(context.WithoutCancel(ctx), key))
	}
	if err = l.overlay.Commit(ctx, name, key, opts...); err != nil {
		err = errors.Join(err, os.Rename(to, from), l.overlay.Remove(context.WithoutCancel(ctx), key))
	}
	return err
}

// find gives a held layer, nil if there is none.
func (l *layers) find(ctx context.Context, key string) *layer {
	k, err := recordKey(ctx, key)
	if err != nil {
		return nil // the snapshotter itself reports that
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[k]
}

func (h *layer) copy() snapshots.Info {
	info := h.info
	info.Labels = maps.Clone(info.Labels)
	return info
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
