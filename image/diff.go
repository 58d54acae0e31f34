package image

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/layer"
)

// Diff lists what is other in the files of b than in those of a, in the order of
// paths, a directory before what is in it, as container.Container.Changes does for a
// container and its image: what has to be added, modified and deleted to make b of a.
// A file whose time alone is another counts as modified; a directory does not.
//
// The images may be for other platforms than this machine's. Their layers are unpacked
// for that, unless they are already, as [Image.FS] does. What both images have
// from one layer is not read.
//
// An error ends the list: it comes with the zero Change. It is ctor.ErrInvalid for
// images of different engines, and ctor.ErrNotFound for one that is neither unpacked
// nor whole in the store.
func Diff(ctx context.Context, a, b *Image) iter.Seq2[layer.Change, error] {
	return func(yield func(layer.Change, error) bool) {
		err := diff(ctx, a, b, func(name string, kind rootfs.Kind) error {
			if !yield(layer.Change{Path: path.Join("/", name), Kind: kinds[kind]}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			wrap(&err, "diff of image "+a.Ref()+" and", b.Ref())
			yield(layer.Change{}, err)
		}
	}
}

// errEnough ends a list whose caller has seen enough.
var errEnough = errors.New("enough")

var kinds = map[rootfs.Kind]layer.ChangeKind{
	rootfs.Added: layer.Added, rootfs.Modified: layer.Modified, rootfs.Deleted: layer.Deleted,
}

func diff(ctx context.Context, a, b *Image, yield func(string, rootfs.Kind) error) (err error) {
	if a.e != b.e {
		return fmt.Errorf("they are of different engines: %w", errdefs.ErrInvalidArgument)
	}
	before, err := a.FS(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, before.Close()) }()
	after, err := b.FS(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, after.Close()) }()
	ctx, leave, err := a.e.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	d := rootfs.Diff{Before: before.v.root, After: after.v.root}
	return engine.Cause(ctx, d.Walk(ctx, yield))
}
