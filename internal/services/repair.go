package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Repair removes the directories that a snapshotter or the content store was
// making or removing when its program was killed. A snapshot's directory that was
// renamed into place before its record was written would make the next snapshot,
// which gets the same number, fail. Repair must be called while no
// services run on root.
func Repair(ctx context.Context, root string) error {
	var errs []error
	for _, id := range listed[plugins.SnapshotPlugin] {
		dir := filepath.Join(root, plugins.SnapshotPlugin.String()+"."+id)
		if err := repairSnapshots(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("repair %s: %w", id, err))
		}
	}
	dir := filepath.Join(root, plugins.ContentPlugin.String()+".content", "ingest")
	if err := repairIngests(dir); err != nil {
		errs = append(errs, fmt.Errorf("repair content: %w", err))
	}
	return errors.Join(errs...)
}

// repairIngests removes ingests that lack the files that a new ingest begins
// with.
func repairIngests(dir string) error {
	ingests, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, i := range ingests {
		path := filepath.Join(dir, i.Name())
		ref, err := os.ReadFile(filepath.Join(path, "ref"))
		whole := err == nil && digest.FromBytes(ref).Encoded() == i.Name()
		for _, name := range []string{"data", "startedat", "updatedat"} {
			_, err := os.Stat(filepath.Join(path, name))
			whole = whole && err == nil
		}
		if !whole {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

func repairSnapshots(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	known, err := snapshotIDs(ctx, filepath.Join(dir, "metadata.db"))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if _, ok := known[e.Name()]; !ok {
			errs = append(errs, rootfs.Discard(filepath.Join(dir, "snapshots", e.Name())))
		}
	}
	return errors.Join(errs...)
}

// snapshotIDs reads which numbered directories a snapshotter has records of.
func snapshotIDs(ctx context.Context, db string) (ids map[string]string, err error) {
	ms, err := storage.NewMetaStore(db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ms.Close()) }()
	err = ms.WithTransaction(ctx, false, func(ctx context.Context) error {
		ids, err = storage.IDMap(ctx)
		if errdefs.IsNotFound(err) { // it was killed before its first snapshot
			return nil
		}
		return err
	})
	return ids, err
}

// Sweep collects what a killed program was about to collect, and the snapshots
// and content that it made without recording them. ctx is of any namespace. The
// collector only looks through stores from which something was removed since the
// start, so something is, by us or by a collection that comes first.
func (s *Services) Sweep(ctx context.Context) error {
	const key = "ctor-sweep"
	for _, name := range s.Snapshotters() {
		sn := s.client.SnapshotService(name)
		if _, err := sn.Prepare(ctx, key, ""); err != nil && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("sweep %s: %w", name, err)
		}
		if err := sn.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("sweep %s: %w", name, err)
		}
	}
	// With a lease: otherwise a collection that the removal above has set off takes
	// the blob before it is whole.
	lm := s.client.LeasesService()
	lease, err := lm.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour))
	if err != nil {
		return fmt.Errorf("sweep content: %w", err)
	}
	leased := leases.WithLease(ctx, lease.ID)
	cs := s.client.ContentStore()
	d := ocispec.Descriptor{Digest: digest.FromString(key), Size: int64(len(key))}
	if err := content.WriteBlob(leased, cs, key, bytes.NewReader([]byte(key)), d); err != nil {
		return fmt.Errorf("sweep content: %w", err)
	}
	if err := cs.Delete(ctx, d.Digest); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("sweep content: %w", err)
	}
	if err := lm.Delete(ctx, lease); err != nil {
		return fmt.Errorf("sweep content: %w", err)
	}
	_, err = s.collector.ScheduleAndWait(ctx)
	return err
}
