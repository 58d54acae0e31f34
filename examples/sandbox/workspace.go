package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// workspace is the directory in the box where commands run, and files go in and
// out.
const workspace = "workspace"

// put copies a file or a directory of the host into the workspace.
func (b *box) put(ctx context.Context, name string) error {
	name, err := filepath.Abs(name) // "." has no name of its own
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	files, to := b.container.FS(), path.Join(workspace, filepath.Base(name))
	if info.IsDir() {
		return files.CopyIn(ctx, to, os.DirFS(name))
	}
	src, err := os.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := files.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// most is how many bytes one get takes out of the box, which decides how large
// its files are.
const most = 1 << 30

// get copies a file or a directory of the box into a directory of the host. name
// counts from the workspace; "../etc" is the box's own. The box may have put anything there: links and the like are left out,
// and nothing is written beside dir, whatever is in there from before.
func (b *box) get(name, dir string) error {
	files, err := fs.Sub(b.container.FS(), path.Join(workspace, path.Dir(name)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(most)
	return fs.WalkDir(files, path.Base(name), func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return root.MkdirAll(p, 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		n, err := take(root, files, p, left)
		left -= n
		return err
	})
}

// take copies a file of up to left bytes, and gives how many it had.
func take(root *os.Root, files fs.FS, name string, left int64) (n int64, err error) {
	src, err := files.Open(name)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > left {
		return 0, fmt.Errorf("%s: the box's files have more than %d bytes", name, int64(most))
	}
	dst, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(dst, io.LimitReader(src, info.Size())) // it may grow meanwhile
	return n, errors.Join(err, dst.Close())
}
