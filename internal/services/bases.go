package services

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// bases are what held layers lie on: an image's layers. For each there is one
// snapshot in the database, which keeps them from being collected and shows
// where they are, for any number of containers.
type bases struct {
	overlay snapshots.Snapshotter
	owner   string // label of what ends with the program

	mu   sync.Mutex
	all  map[string]*base // by namespace/chain; also those of retry
	kept map[string]bool  // the snapshots, by namespace/key
}

// base is an image's layers.
type base struct {
	namespace, chain string
	users            int // guarded by bases.mu

	mu    sync.Mutex
	key   string      // of the snapshot; "": not made yet
	mount mount.Mount // of it
	top   fs.FileInfo // the root directory in the top layer
}

func newBases(overlay snapshots.Snapshotter, owner string) *bases {
	return &bases{overlay: overlay, owner: owner, all: map[string]*base{}, kept: map[string]bool{}}
}

// use gives the base of a chain, until leave.
func (s *bases) use(ctx context.Context, chain string) (*base, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	b := s.all[ns+"/"+chain]
	if b == nil {
		b = &base{namespace: ns, chain: chain}
		s.all[ns+"/"+chain] = b
	}
	b.users++
	s.mu.Unlock()
	if err := s.fill(ctx, b); err != nil {
		s.leave(b)
		return nil, err
	}
	return b, nil
}

func (s *bases) leave(b *base) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.users--
}

// fill makes the snapshot, if there is none yet.
func (s *bases) fill(ctx context.Context, b *base) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != "" {
		return nil
	}
	// No container can have that name, and no earlier program has left a snapshot
	// of that name.
	key := "io.ctor.base:" + rand.Text()
	s.keep(b, key, true)
	mounts, err := s.overlay.Prepare(ctx, key, b.chain, snapshots.WithLabels(map[string]string{
		"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339),
		s.owner:                 key,
	}))
	if err != nil {
		s.keep(b, key, false)
		if errdefs.IsAlreadyExists(err) { // not what the caller asked for
			err = fmt.Errorf("%v: %w", err, errdefs.ErrInternal)
		}
		return err
	}
	b.key = key
	if err = b.read(mounts); err != nil {
		derr := s.drop(ctx, b)
		if derr != nil {
			s.retry(&base{namespace: b.namespace, chain: b.chain, key: b.key})
			b.key = ""
		}
		return errors.Join(err, derr)
	}
	return nil
}

func (s *bases) keep(b *base, key string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if yes {
		s.kept[b.namespace+"/"+key] = true
	} else {
		delete(s.kept, b.namespace+"/"+key)
	}
}

// drop removes the snapshot.
func (s *bases) drop(ctx context.Context, b *base) error {
	err := s.overlay.Remove(namespaces.WithNamespace(ctx, b.namespace), b.key)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("drop %s: %w", b.key, err)
	}
	s.keep(b, b.key, false)
	b.key = ""
	return nil
}

func (b *base) read(mounts []mount.Mount) (err error) {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return fmt.Errorf("mounts %v of %s are not an overlay: %w", mounts, b.chain, errdefs.ErrInternal)
	}
	b.mount = mounts[0]
	below := rootfs.Below(mounts)
	if below == "" {
		return fmt.Errorf("overlay of %s without layers: %w", b.chain, errdefs.ErrInternal)
	}
	b.top, err = os.Stat(below)
	return err
}

// under makes a writable layer in dir, which must not exist, and gives its
// mount.
func (b *base) under(dir string) ([]mount.Mount, error) {
	top := filepath.Join(dir, upper)
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{{dir, 0o700}, {top, 0o755}, {filepath.Join(dir, work), 0o711}} {
		if err := os.Mkdir(d.path, d.mode); err != nil {
			return nil, err
		}
	}
	// The upper directory's own attributes are those of the container's root.
	if st, ok := b.top.Sys().(*syscall.Stat_t); ok && (st.Uid != 0 || st.Gid != 0) {
		if err := os.Lchown(top, int(st.Uid), int(st.Gid)); err != nil {
			return nil, err
		}
	}
	mounts := []mount.Mount{rootfs.Over(b.mount, top, filepath.Join(dir, work))}
	return mounts, rootfs.Inherit(mounts)
}

// keeps reports whether a snapshot is a base's.
func (s *bases) keeps(ctx context.Context, key string) bool {
	k, err := recordKey(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && s.kept[k]
}

// dropUnused removes the bases that no container uses.
func (s *bases) dropUnused(ctx context.Context) error {
	_, err := s.dropIf(ctx, func(*base) bool { return true })
	return err
}

// dropChain removes a chain's base if no container uses it, and reports whether
// there was one.
func (s *bases) dropChain(ctx context.Context, chain string) (bool, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return false, err
	}
	return s.dropIf(ctx, func(b *base) bool { return b.namespace == ns && b.chain == chain })
}

func (s *bases) dropIf(ctx context.Context, ours func(*base) bool) (dropped bool, err error) {
	var unused []*base
	s.mu.Lock()
	for k, b := range s.all {
		if b.users == 0 && ours(b) {
			delete(s.all, k)
			unused = append(unused, b)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, b := range unused {
		if b.key == "" {
			continue
		}
		if err := s.drop(ctx, b); err != nil {
			errs = append(errs, err)
			s.retry(b)
		} else {
			dropped = true
		}
	}
	return dropped, errors.Join(errs...)
}

// retry makes the next dropUnused drop an unused base again: by then there may be
// another base of the same layers.
func (s *bases) retry(b *base) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[b.namespace+"/"+b.chain+"/"+b.key] = b
}
