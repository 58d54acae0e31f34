package reach

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// here are the doors of a program that has the right to all of it.
type here struct {
	life context.Context // the engine's

	mu     sync.Mutex
	files  map[string]*files // by container
	closed bool
}

// Here reaches everything from this process. Listeners end with life, which is
// the engine's.
func Here(life context.Context) Doors { return &here{life: life, files: map[string]*files{}} }

// Snapshot implements Doors.
func (h *here) Snapshot(mounts []mount.Mount, at string) (*rootfs.Root, error) {
	return rootfs.Open(mounts, at)
}

// Diff implements Doors.
func (h *here) Diff(mounts []mount.Mount, at string) (_ *rootfs.Diff, err error) {
	d := &rootfs.Diff{}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.After, err = rootfs.OpenWhole(mounts, at); err != nil {
		return nil, err
	}
	if d.Upper, d.User, err = rootfs.OpenUpper(mounts); err == nil && d.Upper != nil {
		d.Before, err = rootfs.Open(mounts, at)
	}
	return d, err
}

// Door implements Doors.
func (h *here) Door(c Container) Door { return &door{here: h, c: c} }

// Close implements Doors.
func (h *here) Close() error {
	h.mu.Lock()
	h.closed = true
	open := slices.Collect(maps.Values(h.files))
	clear(h.files)
	h.mu.Unlock()
	var errs []error
	for _, f := range open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// of gives the files of a container, which all doors to it share.
func (h *here) of(id string) (*files, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fs.ErrClosed
	}
	f, ok := h.files[id]
	if !ok {
		f = newFiles()
		h.files[id] = f
	}
	return f, nil
}

// forget ends what of has begun.
func (h *here) forget(id string) error {
	h.mu.Lock()
	f, ok := h.files[id]
	delete(h.files, id)
	h.mu.Unlock()
	if !ok {
		return nil
	}
	return f.Close()
}

// door leads from this process to a container.
type door struct {
	here *here
	c    Container

	mu      sync.Mutex
	process *os.File          // pidfd of the first process; nil: not needed yet
	serving map[*tie]struct{} // listeners that are open
	closed  bool
}

// Renew implements Door.
func (d *door) Renew() error { return d.end(false) }

// Close implements Door. It keeps no file or network of the container from
// ending.
func (d *door) Close() error { return d.end(true) }

func (d *door) end(forGood bool) error {
	d.mu.Lock()
	d.closed = d.closed || forGood
	serving := slices.Collect(maps.Keys(d.serving))
	process := d.process
	d.process = nil
	d.mu.Unlock()
	for _, t := range serving {
		_ = t.Close()
	}
	if process != nil {
		process.Close()
	}
	return d.here.forget(d.c.ID())
}
