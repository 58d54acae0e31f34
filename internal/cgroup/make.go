package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// hierarchy is one that is mounted.
type hierarchy struct {
	dir string
	two bool // version 2's
}

// mounted are all, the freezer's last: who joins a frozen cgroup stops there.
var mounted = sync.OnceValues(func() ([]hierarchy, error) {
	found, err := hierarchies()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted: %w", errdefs.ErrUnavailable)
	}
	var all []hierarchy
	for _, dir := range found {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return nil, &fs.PathError{Op: "statfs", Path: dir, Err: err}
		}
		all = append(all, hierarchy{dir, st.Type == unix.CGROUP2_SUPER_MAGIC})
	}
	slices.SortStableFunc(all, func(a, b hierarchy) int { return freezing(a) - freezing(b) })
	return all, nil
})

func freezing(h hierarchy) int {
	if slices.Contains(h.controllers(), "freezer") {
		return 1
	}
	return 0
}

// controllers are version 1's in this hierarchy, by where it is mounted, as
// runtimes have it.
func (h hierarchy) controllers() []string {
	if h.two {
		return nil
	}
	return strings.Split(filepath.Base(h.dir), ",")
}

// Fresh is a cgroup that is being made for a process that begins in it.
type Fresh struct {
	Doors
	path  string
	made  []hierarchy
	found []hierarchy // in which it was there, and empty
}

// Begin makes a cgroup in version 2's hierarchy, where a process can begin while
// Complete makes the rest. One that holds processes, or has others below it that do, is
// errdefs.ErrAlreadyExists, and stays as it is. "" is no cgroup, here and in all that
// follows.
func Begin(path string) (*Fresh, error) {
	f := &Fresh{Doors: Doors{Two: -1}, path: path}
	return f, f.make(true)
}

// Complete makes the cgroup in version 1's hierarchies. Its errors are those of Begin.
func (f *Fresh) Complete() error { return f.make(false) }

func (f *Fresh) make(two bool) error {
	if f.path == "" {
		return nil
	}
	all, err := mounted()
	if err != nil {
		return err
	}
	for _, h := range all {
		if h.two != two {
			continue
		}
		there, err := h.make(f.path)
		switch {
		case err != nil:
			return fmt.Errorf("make cgroup: %w", err)
		case there:
			f.found = append(f.found, h)
		default:
			f.made = append(f.made, h)
		}
		if err := f.open(h, f.path); err != nil {
			return err
		}
	}
	return nil
}

// At is it, by its path.
func (f *Fresh) At() Group { return At(f.path) }

// Undo removes what was made, and what was there as long as it is empty: processes that
// have come to be there are others', and live. What has begun in it has ended.
func (f *Fresh) Undo() error {
	end := time.Now().Add(deathLimit)
	var errs []error
	for _, h := range f.found {
		_ = unix.Rmdir(filepath.Join(h.dir, f.path))
	}
	for _, h := range f.made {
		errs = append(errs, remove(filepath.Join(h.dir, f.path), nil, end))
	}
	return errors.Join(errs...)
}

// make makes a cgroup, unless it is there and empty.
func (h hierarchy) make(path string) (there bool, err error) {
	dir := filepath.Join(h.dir, path)
	above := filepath.Dir(path)
	if err := h.prepare(above); err != nil {
		return false, err
	}
	err = unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT { // it was removed since
		h.forget(above)
		if err := h.prepare(above); err != nil {
			return false, err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	switch err {
	case nil:
		if above == "/" && slices.Contains(h.controllers(), "cpuset") {
			err = inherit(dir) // the root hands nothing down
		}
		if err != nil {
			_ = unix.Rmdir(dir)
		}
		return false, err
	case unix.EEXIST:
		// What a dead runtime has left, or a container's.
		if pids, err := within(dir); err != nil || len(pids) > 0 {
			return true, fmt.Errorf("%s holds processes %v: %w", dir, pids, errors.Join(err, errdefs.ErrAlreadyExists))
		}
		return true, nil
	}
	return false, &fs.PathError{Op: "mkdir", Path: dir, Err: err}
}

// parents are the cgroups that are known to be ready for others in them.
var parents sync.Map // by directory

// prepare sees to it that cgroups in path have what is above them: of version 2
// all controllers, of version 1 processors and memory nodes.
func (h hierarchy) prepare(path string) error {
	dir := filepath.Join(h.dir, path)
	if _, known := parents.Load(dir); known {
		return nil
	}
	if path != "/" {
		if err := h.prepare(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	switch {
	case h.two && unified():
		handDown(dir)
	case slices.Contains(h.controllers(), "cpuset") && path != "/":
		if err := inherit(dir); err != nil {
			return err
		}
	}
	parents.Store(dir, nil)
	return nil
}

// forget is for a cgroup that was removed, and those above it.
func (h hierarchy) forget(path string) {
	for ; ; path = filepath.Dir(path) {
		parents.Delete(filepath.Join(h.dir, path))
		if path == "/" {
			return
		}
	}
}

// handDown enables all controllers below a cgroup of version 2, as far as the host
// lets it: what is missing shows when a limit is set.
func handDown(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for c := range strings.FieldsSeq(string(b)) {
		write(dir, "cgroup.subtree_control", "+"+c)
	}
}

// inherit gives a cgroup of cpuset what the one above has, and has it hand that on:
// a process can't join one without.
func inherit(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if len(strings.TrimSpace(string(own))) > 0 {
			continue
		}
		above, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), above, 0)
		}
		if err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0)
}

// Doors are what a process joins a cgroup by, as descriptors.
type Doors struct {
	Lists []int // version 1's lists of threads, each for a 0; the freezer's is last
	Two   int   // version 2's directory; -1: there is none
}

// Open opens a cgroup that was made.
func Open(path string) (d Doors, err error) {
	d.Two = -1
	if path == "" {
		return d, nil
	}
	all, err := mounted()
	if err != nil {
		return d, err
	}
	for _, h := range all {
		if err := d.open(h, path); err != nil {
			d.Close()
			return Doors{Two: -1}, err
		}
	}
	return d, nil
}

func (d *Doors) open(h hierarchy, path string) (err error) {
	dir := filepath.Join(h.dir, path)
	if h.two {
		d.Two, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	} else {
		var fd int
		if fd, err = unix.Open(filepath.Join(dir, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			d.Lists = append(d.Lists, fd)
		}
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return nil
}

// Leaf opens version 2's cgroup of a process that has moved within the one at path,
// as Doors.Two.
func Leaf(path string, pid int) (int, error) {
	all, err := mounted()
	if err != nil {
		return -1, err
	}
	at := read(fmt.Sprintf("/proc/%d/cgroup", pid))[""]
	if at != path && !strings.HasPrefix(at, path+"/") {
		return -1, fmt.Errorf("process %d is in cgroup %q, outside of %s: %w", pid, at, path, errdefs.ErrFailedPrecondition)
	}
	for _, h := range all {
		if !h.two {
			continue
		}
		fd, err := unix.Open(filepath.Join(h.dir, at), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: filepath.Join(h.dir, at), Err: err}
		}
		return fd, nil
	}
	return -1, fmt.Errorf("cgroups of version 2: %w", errdefs.ErrUnavailable)
}

// Close closes the descriptors.
func (d Doors) Close() {
	for _, fd := range d.Lists {
		unix.Close(fd)
	}
	if d.Two >= 0 {
		unix.Close(d.Two)
	}
}

// Ones gives version 1's hierarchies by the names of their directories, in the
// order of their mounts; none where version 2 is all there is.
var Ones = sync.OnceValues(func() ([]string, error) {
	found, err := hierarchies()
	if err != nil || unified() {
		return nil, err
	}
	var names []string
	for _, dir := range found {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP_SUPER_MAGIC {
			names = append(names, filepath.Base(dir))
		}
	}
	return names, nil
})

// Drop removes a cgroup whose processes have ended.
func Drop(path string) error {
	if path == "" {
		return nil
	}
	all, err := mounted()
	if err != nil {
		return err
	}
	for _, h := range all {
		switch err := unix.Rmdir(filepath.Join(h.dir, path)); err {
		case nil, unix.ENOENT:
		default: // the kernel is not done with the dead, or the container has made others in it
			return Remove(path)
		}
	}
	return nil
}
