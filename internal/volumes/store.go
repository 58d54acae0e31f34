// Package volumes is what volumes are on the disk: a directory for each, by its
// name, with what is in it in a directory below and what is known of it in one small
// file. Nothing else knows of them, so any program that has the store's directory
// finds them all, and they need no database.
//
// A lock on a volume's directory keeps it from changing its stage, or from being
// removed, while it is used by a call: see [Store.Hold]. It is the kernel's, so it
// counts between programs, and ends with the one that has it.
package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// FS makes a *container.FS of the files of a volume, which what names in errors.
// Package container sets it, for package volume.
var FS func(what string, visit Visit) any

// Visit calls act with the root of what files there are, which is open as long.
// What act does under the context that it gets ends with ctx.
type Visit func(ctx context.Context, act func(context.Context, *rootfs.Root) error) error

// Store is a directory of volumes.
type Store struct{ Dir string }

// Record is what is known of a volume.
type Record struct {
	Name    string `json:"-"` // the directory's
	Labels  map[string]string
	Created time.Time
	Stage   Stage `json:",omitempty"`
}

// Stage is how far a volume has come.
type Stage string

// The stages.
const (
	Unused  Stage = "unused"  // by any container
	Filling Stage = "filling" // the first container's image is being copied, or its copying was cut off
	Used    Stage = ""        // what is in it is its containers' business
)

const (
	record  = "volume.json"
	data    = "data"
	hidden  = "."     // what is no volume, or none any more, begins with it: no name does
	newName = ".new-" // made, and not named yet
	oldName = ".old-" // removed
)

// CheckName refuses what can't be the name of a volume.
func CheckName(name string) error { return identifiers.Validate(name) }

// Create makes a volume. One that is there is errdefs.ErrAlreadyExists.
func (s Store) Create(name string, labels map[string]string) (r Record, err error) {
	if err := CheckName(name); err != nil {
		return r, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return r, err
	}
	unlock, err := s.share()
	if err != nil {
		return r, err
	}
	defer unlock()
	var undo unwind.Stack
	defer undo.OnError(&err)
	dir, err := os.MkdirTemp(s.Dir, newName)
	if err != nil {
		return r, err
	}
	undo.Push(func() error { return rootfs.Discard(dir) })
	if err := makeData(dir); err != nil {
		return r, err
	}
	r = Record{Name: name, Labels: labels, Created: time.Now().UTC(), Stage: Unused}
	if err := write(dir, r); err != nil {
		return r, err
	}
	err = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, s.path(name), unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		return r, fmt.Errorf("the name is taken: %w", errdefs.ErrAlreadyExists)
	}
	if err != nil {
		return r, os.NewSyscallError("rename", err)
	}
	return r, nil
}

// makeData makes the directory of a volume's files, whatever the program's umask is.
func makeData(dir string) error {
	at := filepath.Join(dir, data)
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	return os.Chmod(at, 0o755)
}

// Get reads what is known of a volume. One that is not there is errdefs.ErrNotFound.
func (s Store) Get(name string) (r Record, err error) {
	if err := CheckName(name); err != nil {
		return r, err
	}
	dir, err := unix.Open(s.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return r, errMissing
	}
	if err != nil {
		return r, &fs.PathError{Op: "open", Path: s.Dir, Err: err}
	}
	defer unix.Close(dir)
	return get(dir, name)
}

// maxRecord is far more than what is known of a volume: each label is bounded.
const maxRecord = 16 << 20

// get reads from the store's directory. There may be thousands to read: it makes as
// few calls of the kernel as can be, where package os would make twice as many.
func get(dir int, name string) (r Record, err error) {
	r.Name = name
	wrong := func(err error) (Record, error) { return r, fmt.Errorf("%s of volume %q: %w", record, name, err) }
	f, err := unix.Openat(dir, name+"/"+record, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return r, errMissing
	}
	if err != nil {
		return wrong(err)
	}
	defer unix.Close(f)
	var b []byte
	for buf := make([]byte, 1024); len(b) <= maxRecord; buf = make([]byte, 64<<10) {
		n, err := unix.Read(f, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return wrong(err)
		}
		b = append(b, buf[:n]...)
		if n < len(buf) {
			break
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return wrong(err)
	}
	return r, nil
}

var errMissing error = missing{}

// missing is the error of a volume that is not there, whose files are not either.
type missing struct{}

func (missing) Error() string   { return "no such volume" }
func (missing) Unwrap() []error { return []error{errdefs.ErrNotFound, fs.ErrNotExist} }

// List gives all volumes, in the order of their names.
func (s Store) List() (all []Record, err error) {
	dir, err := os.Open(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, hidden) {
			continue
		}
		r, err := get(int(dir.Fd()), name)
		if errdefs.IsNotFound(err) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Sweep removes what programs that were killed had half made or half removed. What
// others are about stays.
func (s Store) Sweep() error {
	dir, err := os.Open(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return nil
	} else if err != nil {
		return os.NewSyscallError("flock", err)
	}
	defer unlock(dir)
	names, err := dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		if strings.HasPrefix(name, hidden) {
			errs = append(errs, rootfs.Discard(s.path(name)))
		}
	}
	return errors.Join(errs...)
}

// share keeps Sweep from taking what is being made or removed for what is left.
func (s Store) share() (release func(), err error) {
	dir, err := os.Open(s.Dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH); err != nil { // a sweep is short
		dir.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { unlock(dir); dir.Close() }, nil
}

func (s Store) path(name string) string { return filepath.Join(s.Dir, name) }

// Data is the directory of a volume's files, on the host.
func (s Store) Data(name string) string { return filepath.Join(s.path(name), data) }

// write replaces what is known of a volume. It is on the disk then, or the old one is.
func write(dir string, r Record) (err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	made := filepath.Join(dir, record+".new")
	f, err := os.OpenFile(made, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(made, filepath.Join(dir, record)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
