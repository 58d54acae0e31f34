package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// OpenDir is a directory of the host as a root.
func OpenDir(path string) (*Root, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return newRoot(dir)
}

// Empty tells whether there is nothing in the root directory.
func (r *Root) Empty() (bool, error) {
	d, err := r.Open(".")
	if err != nil {
		return false, err
	}
	defer d.Close()
	list, err := d.(fs.ReadDirFile).ReadDir(1)
	if err == io.EOF {
		err = nil
	}
	return len(list) == 0, err
}

// Populate makes what src has in the directory name in the root, which is empty,
// and gives the root the owner, mode, time and attributes of that directory. Where
// src has nothing of that name the root stays as it is.
func (r *Root) Populate(ctx context.Context, src *Root, name string) error {
	from, err := src.In(ctx).sub(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("it is no directory: %w", errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return Failure("copy", name, err)
	}
	defer from.Close()
	return Failure("copy", name, errors.Join(r.pour(ctx, from), r.resemble(from)))
}

// pour copies by way of a tar, which can say all that a file is.
func (r *Root) pour(ctx context.Context, from *Root) error {
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := from.pack(ctx, ".", in)
		in.CloseWithError(err)
		packed <- err
	}()
	err := r.unpack(ctx, ".", out)
	out.CloseWithError(err)
	if perr := <-packed; perr != nil {
		return perr // which is unpack's as well, or its cause
	}
	return err
}

// resemble gives the root what another root directory has beside its files.
func (r *Root) resemble(from *Root) error {
	return from.with(func(dir int) error {
		f := file{handle: handle(dir)}
		var err error
		if f.Stat_t, err = f.stat(); err != nil {
			return err
		}
		n, err := f.node()
		if err != nil {
			return err
		}
		return r.with(func(dir int) error { return n.redress(handle(dir)) })
	})
}
