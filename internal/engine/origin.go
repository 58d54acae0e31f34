package engine

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/containers"

	"github.com/ctorhq/ctor/internal/record"
)

// Origin is the image that a container is an instance of: the name that it was made by,
// and the digest of its manifest.
type Origin struct{ Ref, Image string }

// Rebase has move put other layers below a container's writable one, while the
// container has no process and none can begin. move tells whose they are. A container
// that has a process, or whose files are to outlive a killed program at any moment, is
// ErrNotStill. Package container sets it, for package image.
var Rebase func(ctx context.Context, container any, move func(ctx context.Context, c containers.Container) (Origin, error)) error

// ErrNotStill is that a container can't be rebased.
var ErrNotStill = errors.New("it may write to its layer")

// SetOrigin notes in a container's record what image it is an instance of.
func (e *Engine) SetOrigin(ctx context.Context, id string, o Origin) (containers.Container, error) {
	c, err := e.Note(ctx, id, func(r *record.Record) { r.Ref, r.Image = o.Ref, o.Image })
	if err != nil {
		return c, err
	}
	c.Image = o.Ref
	return e.Client.ContainerService().Update(ctx, c, "image")
}
