package build

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// files is an fs.FS as BuildKit reads it. As with Docker, all files are root's, and
// have no other names or attributes.
type files struct{ fs.FS }

var _ fsutil.FS = files{}

// Walk implements fsutil.FS: it visits what is below target, without target.
func (f files) Walk(ctx context.Context, target string, visit fs.WalkDirFunc) error {
	root := f.name(target)
	return fs.WalkDir(f.FS, root, func(name string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if name == "." && err == nil {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return skipGone(d) // it went while the tree was walked, or target is not there
		}
		if err != nil || d == nil {
			return visit(filepath.FromSlash(name), d, err)
		}
		st, err := f.stat(name, d)
		if errors.Is(err, fs.ErrNotExist) {
			return skipGone(d)
		}
		if err != nil {
			return err
		}
		return visit(filepath.FromSlash(name), &fsutil.DirEntryInfo{Stat: st}, nil)
	})
}

func skipGone(d fs.DirEntry) error {
	if d != nil && d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// Open implements fsutil.FS.
func (f files) Open(name string) (io.ReadCloser, error) { return f.FS.Open(f.name(name)) }

func (files) name(name string) string {
	name = strings.TrimPrefix(path.Clean(filepath.ToSlash(name)), "/")
	if name == "" {
		return "."
	}
	return name
}

func (f files) stat(name string, d fs.DirEntry) (*types.Stat, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	st := &types.Stat{Path: name, Mode: uint32(info.Mode() &^ fs.ModeSocket), ModTime: info.ModTime().UnixNano()}
	if info.ModTime().IsZero() { // it has none, as in package embed
		st.ModTime = 0
	}
	switch {
	case info.Mode().IsRegular():
		st.Size = info.Size()
	case info.Mode()&fs.ModeSymlink != 0:
		if st.Linkname, err = fs.ReadLink(f.FS, name); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// sharedKey says which earlier copies of its directories a build may begin with: of
// what has the same size and time only one copy is made. Only files on a disk have
// times that tell so much.
func sharedKey(fsys fs.FS, more map[string]fs.FS) string {
	key := ""
	for _, name := range slices.Sorted(maps.Keys(more)) {
		dir, ok := onDisk(more[name])
		if !ok {
			return rand.Text()
		}
		key += name + "=" + dir + "\x00"
	}
	dir, ok := onDisk(fsys)
	if !ok {
		return rand.Text()
	}
	return key + dir
}

// onDisk gives the directory that is a file system of os.DirFS.
func onDisk(fsys fs.FS) (string, bool) {
	v := reflect.ValueOf(fsys)
	if !v.IsValid() || v.Type() != reflect.TypeOf(os.DirFS("")) {
		return "", false
	}
	dir, err := filepath.Abs(v.String())
	return dir, err == nil
}
