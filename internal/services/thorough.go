package services

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	overlay "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// thorough is a snapshotter of containerd's that removes directories itself.
// containerd uses os.RemoveAll, which needs a descriptor for each level of a tree that
// a container or an image has made. Where that fails, containerd writes a line in the
// log and does not try again.
type thorough struct {
	snapshots.Snapshotter
	dir      string // where the directories are
	labelled bool   // each snapshot says which is its own; else their names tell those that are none's

	// making is held, for reading, while one is made or removed: any that has no
	// record then is half of one.
	making sync.RWMutex

	mu   sync.Mutex
	left map[string]error // that could not be removed, by snapshot; "" for directories
}

// thoroughly makes what a snapshotter's plugin makes thorough.
func thoroughly(start func(*plugin.InitContext) (any, error)) func(*plugin.InitContext) (any, error) {
	return func(ic *plugin.InitContext) (any, error) {
		c, labelled := ic.Config.(*overlay.Config)
		if labelled {
			c.UpperdirLabel = true
		}
		sn, err := start(ic)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(ic.Properties[plugins.PropertyRootDir], "snapshots")
		rootfs.Spread(dir)
		return &thorough{Snapshotter: sn.(snapshots.Snapshotter), dir: dir, labelled: labelled, left: map[string]error{}}, nil
	}
}

// Prepare implements snapshots.Snapshotter.
func (s *thorough) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	s.making.RLock()
	defer s.making.RUnlock()
	return s.Snapshotter.Prepare(ctx, key, parent, opts...)
}

// View implements snapshots.Snapshotter.
func (s *thorough) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	s.making.RLock()
	defer s.making.RUnlock()
	return s.Snapshotter.View(ctx, key, parent, opts...)
}

// Remove implements snapshots.Snapshotter.
func (s *thorough) Remove(ctx context.Context, key string) error {
	s.making.RLock()
	err := s.Snapshotter.Remove(ctx, key)
	s.making.RUnlock()
	if errdefs.IsNotFound(err) {
		s.note(key, nil)
	} else {
		s.note(key, err)
	}
	return err
}

// Cleanup implements snapshots.Cleaner.
func (s *thorough) Cleanup(ctx context.Context) error {
	err := s.discard(ctx)
	s.note("", err)
	return err
}

func (s *thorough) note(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.left, key)
	} else {
		s.left[key] = err
	}
}

// settle does again what failed.
func (s *thorough) settle(ctx context.Context) error {
	s.mu.Lock()
	left := slices.Sorted(maps.Keys(s.left))
	s.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	var errs []error
	for _, key := range slices.Backward(left) {
		if key == "" {
			continue
		}
		if err := s.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, s.Cleanup(ctx))...)
}

// discard removes the directories that no snapshot has.
func (s *thorough) discard(ctx context.Context) error {
	names, err := s.strays(ctx)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, rootfs.Discard(filepath.Join(s.dir, name)))
	}
	return errors.Join(errs...)
}

// removed begins the name of a directory that is on its way out.
const removed = "rm-"

// strays gives the directories that no snapshot has, under names that none will
// have.
func (s *thorough) strays(ctx context.Context) (names []string, err error) {
	s.making.Lock()
	defer s.making.Unlock()
	known, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if known(name) {
			continue
		}
		if !strings.HasPrefix(name, removed) {
			name = removed + rand.Text()
			if err := os.Rename(filepath.Join(s.dir, e.Name()), filepath.Join(s.dir, name)); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}

// known tells of a directory whether a snapshot has it.
func (s *thorough) known(ctx context.Context) (func(name string) bool, error) {
	if !s.labelled {
		return func(name string) bool { return !strings.HasPrefix(name, removed) && !strings.HasPrefix(name, "new-") }, nil
	}
	all := map[string]bool{}
	err := s.Snapshotter.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		all[filepath.Base(filepath.Dir(i.Labels[upperLabel]))] = true
		return nil
	})
	if errdefs.IsNotFound(err) { // before the first snapshot
		err = nil
	}
	return func(name string) bool { return all[name] }, err
}

// upperLabel is where the overlay snapshotter says which directory is a
// snapshot's. It is for us alone.
const upperLabel = "containerd.io/snapshot/overlay.upperdir"

func bare(i snapshots.Info) snapshots.Info {
	if delete(i.Labels, upperLabel); len(i.Labels) == 0 {
		i.Labels = nil
	}
	return i
}

// Stat implements snapshots.Snapshotter.
func (s *thorough) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	i, err := s.Snapshotter.Stat(ctx, key)
	return bare(i), err
}

// Update implements snapshots.Snapshotter.
func (s *thorough) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	i, err := s.Snapshotter.Update(ctx, info, fields...)
	return bare(i), err
}

// Walk implements snapshots.Snapshotter.
func (s *thorough) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return s.Snapshotter.Walk(ctx, func(ctx context.Context, i snapshots.Info) error { return fn(ctx, bare(i)) }, filters...)
}
