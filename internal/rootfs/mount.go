package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/thread"
)

// Open opens the root of a snapshot that has the given mounts, read-only. Of a
// writable one it shows what is below the writable layer, which must not be in
// two mounts at once: that of a new one is empty.
//
// The mount is attached nowhere, or, on older kernels, in a mount namespace that
// lives for a moment, and goes on through the one open directory. So the host's
// mount table does not change, and a program that is killed leaves no mount. at
// is a directory to mount on; no other process sees the mount, and it is gone
// when the root is closed.
func Open(mounts []mount.Mount, at string) (*Root, error) { return open(mounts, at, false) }

// OpenWritable opens the root of a writable snapshot that is used by nothing else,
// not even another Root.
func OpenWritable(mounts []mount.Mount, at string) (*Root, error) { return open(mounts, at, true) }

// OpenUpper opens the upper directory of a writable snapshot that is an
// overlay; of another it gives nil. user tells that overlay's marks in it are
// in the name space "user".
func OpenUpper(mounts []mount.Mount) (r *Root, user bool, err error) {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return nil, false, nil
	}
	l := layersOf(mounts[0], true)
	if l.upper == "" {
		return nil, false, nil
	}
	dir, err := openDir(l.upper)
	if err != nil {
		return nil, false, err
	}
	r, err = newRoot(dir)
	return r, slices.Contains(l.options, "userxattr"), err
}

// OpenWhole opens the root of a writable snapshot, with what is written in it,
// read-only, also while others write.
func OpenWhole(mounts []mount.Mount, at string) (*Root, error) {
	if len(mounts) == 1 && mounts[0].Type == "overlay" {
		l := layersOf(mounts[0], true)
		if l.upper != "" {
			lower := append([]string{l.upper}, l.lower...)
			m := mount.Mount{Type: "overlay", Source: "overlay", Options: append(l.options, lowerOption(lower))}
			return open([]mount.Mount{m}, at, false)
		}
	}
	return open(mounts, at, false)
}

func open(mounts []mount.Mount, at string, writable bool) (*Root, error) {
	dir, err := openDetached(mounts, writable)
	if err != nil {
		thread.Apart(func() { dir, err = openApart(mounts, at, writable) })
	}
	if err != nil {
		return nil, fmt.Errorf("open root file system: %w", err)
	}
	return newRoot(dir)
}

// openApart changes the mount namespace and the working directory of the
// thread it runs on.
func openApart(mounts []mount.Mount, at string, writable bool) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	var view []mount.Mount
	for _, m := range mounts {
		if m.Type == "overlay" {
			var dir string
			m, dir = layersOf(m, writable).mount()
			if err := unix.Chdir(dir); err != nil {
				return nil, &fs.PathError{Op: "chdir", Path: dir, Err: err}
			}
		}
		view = append(view, m)
	}
	if err := mount.All(view, at); err != nil {
		return nil, err
	}
	return os.OpenFile(at, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// layers are what an overlay is made of.
type layers struct {
	lower       []string // directories, the top one first
	upper, work string   // "": read-only
	options     []string // the rest
}

// layersOf takes an overlay mount apart. Without its upper directory, options
// that matter to that alone are left out.
func layersOf(m mount.Mount, writable bool) (l layers) {
	for _, o := range m.Options {
		switch name, value, _ := strings.Cut(o, "="); name {
		case "lowerdir":
			l.lower = directories(value)
		case "upperdir":
			l.upper = directories(value)[0]
		case "workdir":
			l.work = directories(value)[0]
		case "volatile", "rw", "ro":
		default:
			l.options = append(l.options, o)
		}
	}
	if !writable {
		l.upper, l.work = "", ""
	}
	return l
}

// mount makes a mount of layers. It gives the lower ones relative to a
// directory, since mount(2) takes no more than a page of options. containerd's
// mount package would see to that as well, but by a change of directory in
// another thread, which is not in our namespace.
func (l layers) mount() (_ mount.Mount, dir string) {
	if l.upper == "" && len(l.lower) == 1 {
		return mount.Mount{Type: "bind", Source: l.lower[0], Options: []string{"bind", "ro"}}, "/"
	}
	lower := l.lower
	if dir = common(lower); dir != "/" {
		lower = nil
		for _, d := range l.lower {
			lower = append(lower, strings.TrimPrefix(d, dir+"/"))
		}
	}
	options := append(l.options, lowerOption(lower))
	if l.upper == "" {
		options = append(options, "ro")
	} else {
		options = append(options, "upperdir="+escaped.Replace(l.upper), "workdir="+escaped.Replace(l.work), "nodev", "nosuid", "noexec")
	}
	return mount.Mount{Type: "overlay", Source: "overlay", Options: options}, dir
}

// common gives the deepest directory above all of dirs, which are absolute.
func common(dirs []string) string {
	if len(dirs) == 0 {
		return "/"
	}
	dir := path.Dir(dirs[0])
	for _, d := range dirs[1:] {
		for dir != "/" && !strings.HasPrefix(d, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}
