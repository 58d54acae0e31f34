package volumes

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Held is a volume that is not removed, and stays at its stage, until it is let go.
type Held struct {
	Record
	store Store
	dir   *os.File // the lock
}

// Hold holds a volume for a call that uses its files. One whose filling was cut off
// is unused again. It waits while the volume is filled or removed, until ctx ends.
func (s Store) Hold(ctx context.Context, name string) (*Held, error) {
	for {
		h, err := s.lock(ctx, name, unix.LOCK_SH)
		if err != nil || h.Stage != Filling {
			return h, err
		}
		h.Release()
		if err := s.alone(ctx, name, (*Held).mend); err != nil {
			return nil, err
		}
	}
}

// Use is Hold for a container. The first one of a volume has fill put there what its
// image has: one call of many at the same moment does, and the others wait for it.
// When fill fails, or the program is killed meanwhile, the volume is as it was. One
// that the program has put something into is left alone.
func (s Store) Use(ctx context.Context, name string, fill func(context.Context, *rootfs.Root) error) (*Held, error) {
	for {
		h, err := s.lock(ctx, name, unix.LOCK_SH)
		if err != nil || h.Stage == Used {
			return h, err
		}
		h.Release()
		err = s.alone(ctx, name, func(h *Held) error { return h.fill(ctx, fill) })
		if err != nil {
			return nil, err
		}
	}
}

// Bury takes a volume's name away, unless check says why not. What is left is a
// directory to remove.
func (s Store) Bury(ctx context.Context, name string, check func() error) (left string, err error) {
	err = s.alone(ctx, name, func(h *Held) error {
		if err := check(); err != nil {
			return err
		}
		release, err := s.share()
		if err != nil {
			return err
		}
		defer release()
		left = s.path(oldName + rand.Text())
		return os.Rename(s.path(name), left)
	})
	return left, err
}

// alone calls act while no other caller holds the volume.
func (s Store) alone(ctx context.Context, name string, act func(*Held) error) error {
	h, err := s.lock(ctx, name, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer h.Release()
	return act(h)
}

// Between two looks at a lock that another has.
const (
	firstWait = time.Millisecond
	longWait  = 50 * time.Millisecond
)

func (s Store) lock(ctx context.Context, name string, how int) (*Held, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir, err := os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMissing
	}
	if err != nil {
		return nil, err
	}
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		err := unix.Flock(int(dir.Fd()), how|unix.LOCK_NB)
		if err == nil {
			break
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			dir.Close()
			return nil, os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			dir.Close()
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
	h := &Held{store: s, dir: dir}
	h.Record, err = s.Get(name)
	if err == nil && !h.named() { // another one has the name by now
		err = errMissing
	}
	if err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

// named tells whether the volume still has its name.
func (h *Held) named() bool {
	was, err := h.dir.Stat()
	if err != nil {
		return false
	}
	is, err := os.Stat(h.path())
	return err == nil && os.SameFile(was, is)
}

// Release lets the volume go.
func (h *Held) Release() {
	unlock(h.dir)
	h.dir.Close()
}

// unlock is not by closing alone: a child of this program that is about to be
// executed has the file open as well.
func unlock(dir *os.File) { _ = unix.Flock(int(dir.Fd()), unix.LOCK_UN) }

func (h *Held) path() string { return h.store.path(h.Name) }

// Root opens the volume's files.
func (h *Held) Root() (*rootfs.Root, error) { return rootfs.OpenDir(h.store.Data(h.Name)) }

func (h *Held) reach(s Stage) error {
	h.Stage = s
	return write(h.path(), h.Record)
}

// mend makes a volume unused again whose filling was cut off. No container has it.
func (h *Held) mend() error {
	if h.Stage != Filling {
		return nil // another was faster
	}
	if err := rootfs.Discard(h.store.Data(h.Name)); err != nil {
		return err
	}
	if err := makeData(h.path()); err != nil {
		return err
	}
	return h.reach(Unused)
}

func (h *Held) fill(ctx context.Context, fill func(context.Context, *rootfs.Root) error) (err error) {
	if err := h.mend(); err != nil || h.Stage == Used {
		return err
	}
	root, err := h.Root()
	if err != nil {
		return err
	}
	defer root.Close()
	empty, err := root.Empty()
	if err != nil {
		return err
	}
	if !empty {
		return h.reach(Used)
	}
	if err := h.reach(Filling); err != nil {
		return err
	}
	if err := fill(ctx, root); err != nil {
		return errors.Join(err, h.mend())
	}
	if err := h.sync(); err != nil {
		return errors.Join(err, h.mend())
	}
	return h.reach(Used)
}

// sync has all of it on the disk: the stage must not be there before.
func (h *Held) sync() error {
	d, err := os.Open(h.store.Data(h.Name))
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}
