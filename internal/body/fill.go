package body

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// imageRoot is what the image says, which is opened if a volume needs it.
type imageRoot struct {
	open func() (*rootfs.Root, error)
	root *rootfs.Root
}

// fill copies into a volume what the image has where it is mounted.
func (i *imageRoot) fill(ctx context.Context, dst *rootfs.Root, target string) (err error) {
	if i.root == nil {
		if i.root, err = i.open(); err != nil {
			return err
		}
	}
	return dst.Populate(ctx, i.root, target)
}

func (i *imageRoot) Close() error {
	if i.root == nil {
		return nil
	}
	return i.root.Close()
}

// nameless makes a volume without a name. If that fails the container is not made either,
// and what there is of the volume is removed with it.
func nameless(dir string, fill func(*rootfs.Root) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the program's umask is
		return err
	}
	root, err := rootfs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(fill(root), root.Close())
}
