package container

import (
	"context"
	"errors"
	"iter"
	"path"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/layer"
)

// Changes lists what the container has changed against its image, in the order
// of paths, a directory before what is in it: what docker diff lists, and what
// image.Commit makes a layer of. It works on a container in any state. Pause
// one that runs for a list of one moment: what changes meanwhile may be in the list
// or not.
//
// A file is modified when its content, mode, owner, time or extended attributes
// are not those it had, or it has a further name; one that was only opened for
// writing is not. A directory is modified when something in it is listed, or its
// mode, owner or extended attributes have changed, the root (/) by those alone.
// Of what is deleted, or has become something else,
// nothing below is listed as deleted.
//
// What is mounted in the container is no part of it, nor are the files and
// directories that the runtime makes where the image has none: to mount on,
// such as /proc, /etc/hosts and the targets of Config.Mounts, and the working
// directory; nor the directories above that were made for them alone. Writing to
// FS counts as the container's.
//
// An error ends the list: it comes with the zero Change.
func (c *Container) Changes(ctx context.Context) iter.Seq2[layer.Change, error] {
	return func(yield func(layer.Change, error) bool) {
		err := c.changes(ctx, func(name string, kind rootfs.Kind) error {
			if !yield(layer.Change{Path: path.Join("/", name), Kind: kinds[kind]}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(layer.Change{}, c.wrap("changes of", err))
		}
	}
}

// errEnough ends a list whose caller has seen enough.
var errEnough = errors.New("enough")

var kinds = map[rootfs.Kind]layer.ChangeKind{
	rootfs.Added: layer.Added, rootfs.Modified: layer.Modified, rootfs.Deleted: layer.Deleted,
}

func (c *Container) changes(ctx context.Context, yield func(string, rootfs.Kind) error) error {
	return c.call(ctx, func(ctx context.Context) error {
		d, end, err := c.e.Diff(ctx, c.record)
		if err != nil {
			return err
		}
		return errors.Join(d.Walk(ctx, yield), end())
	})
}
