package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Dir is where the engine keeps the files of a container.
func (e *Engine) Dir(id string) string { return filepath.Join(e.Files, e.Namespace, id) }

// filesPart is that directory, with the volumes that have no name.
type filesPart struct{ e *Engine }

func (filesPart) String() string { return "files" }

// Remove implements Part. The directory is out of sight at once. What was in it, with
// all that the container has written to its volumes, goes after that, if no other
// program has to know of it.
func (p filesPart) Remove(_ context.Context, c containers.Container) error {
	dir := p.e.Dir(c.ID)
	if !p.e.Backend.Sole() {
		return rootfs.Discard(dir)
	}
	removed := filepath.Join(p.e.removed(), c.ID)
	err := os.Rename(dir, removed)
	if errors.Is(err, os.ErrNotExist) {
		if _, serr := os.Lstat(dir); errors.Is(serr, os.ErrNotExist) {
			return nil
		}
		if err = os.MkdirAll(p.e.removed(), 0o700); err == nil {
			err = os.Rename(dir, removed)
		}
	}
	if err != nil {
		return err
	}
	p.e.trash.Put(removed)
	return nil
}

// removed is where directories wait to be discarded. What a killed program has left
// there goes at the next Open.
func (e *Engine) removed() string { return e.Files + "-removed" }

// Orphans implements Part: directories of containers that have no record. A
// containerd that runs may be making such a container for another program.
func (p filesPart) Orphans(ctx context.Context) (ids []string, err error) {
	if !p.e.Backend.Sole() {
		return nil, nil
	}
	dirs, err := os.ReadDir(p.e.Dir(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		if _, err := p.e.Client.ContainerService().Get(ctx, d.Name()); errdefs.IsNotFound(err) {
			ids = append(ids, d.Name())
		}
	}
	return ids, nil
}

// ContainerUsage is how many bytes of the disk a container's own things take up: its
// writable layer, its log, and its volumes without a name.
func (e *Engine) ContainerUsage(ctx context.Context, c containers.Container) (int64, error) {
	var bytes int64
	if c.SnapshotKey != "" {
		u, err := e.Client.SnapshotService(c.Snapshotter).Usage(ctx, c.SnapshotKey)
		if err != nil && !errdefs.IsNotFound(err) {
			return 0, err
		}
		bytes = u.Size
	}
	r, err := rootfs.OpenDir(e.Dir(c.ID))
	if errors.Is(err, os.ErrNotExist) {
		return bytes, nil
	}
	if err != nil {
		return 0, err
	}
	defer r.Close()
	files, err := r.Usage(ctx)
	return bytes + files, err
}
