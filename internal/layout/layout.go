// Package layout keeps images in a directory, as an OCI image layout (OCI image-spec,
// image-layout.md): a blob is a file named by its digest, and index.json lists what
// has a name. A layout may be anybody's: no link leads out of it, nothing but
// regular files is opened, and what is read is checked by the caller.
package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// maxIndex is how many bytes index.json may have.
const maxIndex = 32 << 20

// Layout is one in a directory that is held open. It may be used by any number of
// goroutines, and other programs may use it as well.
type Layout struct {
	dir  string
	root *os.Root
}

// Open opens a layout that is there. A directory without one is ErrNotFound.
func Open(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no OCI layout in %s: %w", dir, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	l := &Layout{dir, root}
	if err := l.check(); err != nil {
		root.Close()
		return nil, err
	}
	return l, nil
}

// Create opens a layout, and makes one where the directory is not there or empty.
func Create(ctx context.Context, dir string) (_ *Layout, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	l := &Layout{dir, root}
	unlock, err := l.lock(ctx) // others may be making it
	if err == nil {
		defer unlock()
		err = l.begin()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return l, nil
}

// begin makes a layout of an empty directory.
func (l *Layout) begin() error {
	list, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), partPrefix) }) {
		return l.check()
	}
	b, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return l.write(ocispec.ImageLayoutFile, strings.NewReader(string(b)))
}

// Close lets the directory go.
func (l *Layout) Close() error { return l.root.Close() }

func (l *Layout) check() error {
	var v ocispec.ImageLayout
	err := l.readJSON(ocispec.ImageLayoutFile, 4<<10, &v)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no OCI layout, which has a file %s: %w", l.dir, ocispec.ImageLayoutFile, errdefs.ErrNotFound)
	}
	if err == nil && !strings.HasPrefix(v.Version, "1.") {
		err = fmt.Errorf("%s is an OCI layout of version %.20q, not 1: %w", l.dir, v.Version, errdefs.ErrInvalidArgument)
	}
	return err
}

// open opens a regular file. That of a fifo would wait.
func (l *Layout) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := l.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	i, err := f.Stat()
	if err == nil && !i.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: %w", path.Join(l.dir, name), errdefs.ErrInvalidArgument)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, i, nil
}

func (l *Layout) readJSON(name string, most int64, v any) error {
	f, i, err := l.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if i.Size() > most {
		return fmt.Errorf("%s has %d bytes, more than %d: %w", path.Join(l.dir, name), i.Size(), most, errdefs.ErrInvalidArgument)
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w: %w", path.Join(l.dir, name), err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Index is what index.json lists; nothing if there is none yet.
func (l *Layout) Index() (index ocispec.Index, err error) {
	err = l.readJSON(ocispec.ImageIndexFile, maxIndex, &index)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return index, err
}

// List changes what index.json lists, when no other program does. edit gives the
// list as it is to be.
func (l *Layout) List(ctx context.Context, edit func([]ocispec.Descriptor) []ocispec.Descriptor) (err error) {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index, err := l.Index()
	if err != nil {
		return err
	}
	if index.MediaType == "" {
		index.Versioned, index.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageIndex
	}
	if index.Manifests = edit(index.Manifests); index.Manifests == nil {
		index.Manifests = []ocispec.Descriptor{}
	}
	b, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return l.write(ocispec.ImageIndexFile, strings.NewReader(string(b)))
}

// lock takes turns with other programs. It waits as long as ctx.
func (l *Layout) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := l.root.Open(".")
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			dir.Close()
			return nil, os.NewSyscallError("flock "+l.dir, err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			dir.Close()
			return nil, ctx.Err()
		}
	}
}
