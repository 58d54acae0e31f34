// Package rootfs reads files of an image the way a process in a container
// would see them, without trusting the image and without showing the host a
// mount: the mount is attached nowhere, or, on older kernels, in a mount
// namespace that lives for a moment, and goes on through one open directory.
// So the host's mount table does not change, and a program that is killed
// leaves no mount.
package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// ErrNotRegular is met where an image has something else than a file.
var ErrNotRegular = errors.New("not a regular file")

// Root is the root directory of a snapshot, read-only.
type Root struct{ dir *os.File }

// Open opens the root of a new snapshot that has the given mounts. at is a
// directory to mount on; nobody else sees the mount, and it is gone when the
// root is closed.
func Open(mounts []mount.Mount, at string) (*Root, error) {
	dir, err := openDetached(mounts)
	if err != nil {
		apart(func() { dir, err = openApart(mounts, at) })
	}
	if err != nil {
		return nil, fmt.Errorf("open root file system: %w", err)
	}
	return &Root{dir}, nil
}

// Live gives the root of a process: that of its container, with all that is
// mounted there.
func Live(pid int) (*Root, error) {
	dir, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open root file system: %w", err)
	}
	return &Root{dir}, nil
}

// apart runs f on a thread that ends with it, and so does what f changes of
// it. The process's first thread never ends, and stands for all of them in
// /proc/self, so it is not taken.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			apart(f) // on another one, since this one is held
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// openApart changes the mount namespace and the working directory of the
// thread it runs on.
func openApart(mounts []mount.Mount, at string) (*os.File, error) {
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
			m, dir = lower(m)
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

// lower makes of an overlay mount one of its lower directories alone. It gives
// them relative to a directory, since mount(2) takes no more than a page of
// options. containerd's mount package would see to that as well, but by a
// change of directory in another thread, which is not in our namespace.
func lower(m mount.Mount) (_ mount.Mount, dir string) {
	dirs, options := lowers(m)
	if len(dirs) == 1 {
		return mount.Mount{Type: "bind", Source: dirs[0], Options: []string{"bind", "ro"}}, "/"
	}
	if dir = common(dirs); dir != "/" {
		for i, d := range dirs {
			dirs[i] = strings.TrimPrefix(d, dir+"/")
		}
	}
	return mount.Mount{Type: "overlay", Source: "overlay", Options: append(options, "ro", "lowerdir="+strings.Join(dirs, ":"))}, dir
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

// Close ends the root, and the mount with it.
func (r *Root) Close() error { return r.dir.Close() }

// Stat tells what name is. Links are followed as they would be with r as the
// root: also absolute ones lead to places below it, and nothing leads out.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	f, err := r.Find(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Open opens a regular file for reading; anything else is ErrNotRegular, and
// not touched: the open of a fifo would wait, that of a device may do things
// to the host.
func (r *Root) Open(name string) (*os.File, error) {
	f, err := r.Find(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	// Not to wait either for whoever has a lease on it.
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Find opens name as a path, which does nothing to what is there. What has the
// name a moment later may be something else: go on with the descriptor.
func (r *Root) Find(name string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(r.dir.Fd()), name, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EAGAIN, unix.EINTR: // something was renamed or mounted meanwhile, somewhere
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}
