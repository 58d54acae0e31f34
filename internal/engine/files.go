package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
)

// Dir is where the engine keeps the files of a container.
func (e *Engine) Dir(id string) string { return filepath.Join(e.Files, e.Namespace, id) }

// filesPart is that directory, with the volumes that have no name.
type filesPart struct{ e *Engine }

func (filesPart) String() string { return "files" }

// Remove implements Part. What the container has written to its volumes may take long
// to remove: that is not waited for.
func (p filesPart) Remove(_ context.Context, c containers.Container) error {
	p.e.trash.Put(p.e.Dir(c.ID))
	return nil
}

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
