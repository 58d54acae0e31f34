package rootfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// at opens a directory as a root.
func at(t testing.TB, dir string) *rootfs.Root {
	t.Helper()
	r, err := rootfs.OpenWritable([]mount.Mount{{Type: "bind", Source: dir, Options: []string{"rbind", "rw"}}}, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// tree makes what tests work on.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"a/b", "full/of/things", "empty"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	require.NoError(t, os.WriteFile(dir+"/a/file", []byte("content"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/a/other", []byte("other"), 0o600))
	for name, target := range map[string]string{
		"link": "a/file", "dangling": "a/new", "chain": "dangling", "loop": "loop", "linkdir": "a", "a/up": "../a/file", "a/nowhere": "b/c/d",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	return dir
}

// listing describes a tree.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		i, err := d.Info()
		require.NoError(t, err)
		st := i.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d nlink %d", strings.TrimPrefix(p, dir), i.Mode(), st.Uid, st.Gid, st.Nlink)
		switch i.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			require.NoError(t, err)
			fmt.Fprint(&b, " -> ", target)
		case 0:
			data, err := os.ReadFile(p)
			require.NoError(t, err)
			fmt.Fprintf(&b, " %q", data)
		}
		fmt.Fprintln(&b)
		return nil
	}))
	return b.String()
}

// files is what os.Root and a Root both have.
type files interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	ReadFile(name string) ([]byte, error)
	Stat(name string) (fs.FileInfo, error)
	Lstat(name string) (fs.FileInfo, error)
	WriteFile(name string, data []byte, perm fs.FileMode) error
	Mkdir(name string, perm fs.FileMode) error
	MkdirAll(name string, perm fs.FileMode) error
	Remove(name string) error
	RemoveAll(name string) error
	Symlink(target, name string) error
	Link(old, name string) error
	Rename(old, name string) error
	Chmod(name string, mode fs.FileMode) error
	Chown(name string, uid, gid int) error
	Lchown(name string, uid, gid int) error
	Chtimes(name string, atime, mtime time.Time) error
}

type ours struct {
	*rootfs.Root
	t testing.TB
}

func (o ours) RemoveAll(name string) error { return o.Root.RemoveAll(o.t.Context(), name) }

// opened writes to a file that was opened somehow, and reads what it can.
func opened(name string, flag int) func(files) (any, error) {
	return func(f files) (any, error) {
		file, err := f.OpenFile(name, flag, 0o640)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		_, err = file.WriteString("mo")
		b := make([]byte, 4)
		n, rerr := file.ReadAt(b, 0)
		return fmt.Sprint(filepath.Base(file.Name()), string(b[:n]), rerr != nil), err
	}
}

var now = time.Unix(1700000000, 12345)

// Each is done by os.Root and by a Root.
var deeds = map[string]func(files) (any, error){
	"read":           reading("a/file"),
	"read link":      reading("link"),
	"read up":        reading("a/up"),
	"read dir":       reading("a"),
	"read missing":   reading("missing"),
	"read below":     reading("a/file/x"),
	"read loop":      reading("loop"),
	"open":           opened("a/file", os.O_RDONLY),
	"open rw":        opened("a/file", os.O_RDWR),
	"open append":    opened("link", os.O_WRONLY|os.O_APPEND),
	"open trunc":     opened("a/file", os.O_RDWR|os.O_TRUNC),
	"open create":    opened("a/created", os.O_RDWR|os.O_CREATE),
	"open created":   opened("a/file", os.O_RDWR|os.O_CREATE),
	"open excl":      opened("a/file", os.O_RDWR|os.O_CREATE|os.O_EXCL),
	"open excl new":  opened("a/created", os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_SYNC),
	"open excl link": opened("dangling", os.O_RDWR|os.O_CREATE|os.O_EXCL),
	"open dangling":  opened("dangling", os.O_RDWR|os.O_CREATE),
	"open chain":     opened("chain", os.O_RDWR|os.O_CREATE),
	"open nowhere":   opened("a/nowhere", os.O_RDWR|os.O_CREATE),
	"open loop":      opened("loop", os.O_RDWR|os.O_CREATE),
	"open dir":       opened("a", os.O_RDWR|os.O_CREATE),
	"open missing":   opened("missing", os.O_RDWR),
	"write":          func(f files) (any, error) { return nil, f.WriteFile("a/b/new", []byte("data"), 0o751) },
	"write old":      func(f files) (any, error) { return nil, f.WriteFile("link", []byte("data"), 0o751) },
	"write nowhere":  func(f files) (any, error) { return nil, f.WriteFile("x/y", nil, 0o751) },
	"mkdir":          func(f files) (any, error) { return nil, f.Mkdir("linkdir/new", 0o751) },
	"mkdir old":      func(f files) (any, error) { return nil, f.Mkdir("a", 0o751) },
	"mkdir link":     func(f files) (any, error) { return nil, f.Mkdir("dangling", 0o751) },
	"mkdir nowhere":  func(f files) (any, error) { return nil, f.Mkdir("x/y", 0o751) },
	"mkdirs":         func(f files) (any, error) { return nil, f.MkdirAll("x/y/z", 0o700) },
	"mkdirs old":     func(f files) (any, error) { return nil, f.MkdirAll("a/b/c/d", 0o700) },
	"mkdirs all":     func(f files) (any, error) { return nil, f.MkdirAll("full/of", 0o700) },
	"mkdirs link":    func(f files) (any, error) { return nil, f.MkdirAll("linkdir/x", 0o700) },
	"mkdirs file":    func(f files) (any, error) { return nil, f.MkdirAll("a/file/x", 0o700) },
	"remove":         func(f files) (any, error) { return nil, f.Remove("a/file") },
	"remove link":    func(f files) (any, error) { return nil, f.Remove("link") },
	"remove dir":     func(f files) (any, error) { return nil, f.Remove("empty") },
	"remove full":    func(f files) (any, error) { return nil, f.Remove("full") },
	"remove missing": func(f files) (any, error) { return nil, f.Remove("missing") },
	"removes":        func(f files) (any, error) { return nil, f.RemoveAll("full") },
	"removes tree":   func(f files) (any, error) { return nil, f.RemoveAll("a") },
	"removes link":   func(f files) (any, error) { return nil, f.RemoveAll("linkdir") },
	"removes file":   func(f files) (any, error) { return nil, f.RemoveAll("linkdir/file") },
	"removes none":   func(f files) (any, error) { return nil, f.RemoveAll("x/y/z") },
	"symlink":        func(f files) (any, error) { return nil, f.Symlink("../anywhere", "a/new") },
	"symlink old":    func(f files) (any, error) { return nil, f.Symlink("x", "dangling") },
	"symlink empty":  func(f files) (any, error) { return nil, f.Symlink("", "x") },
	"link":           func(f files) (any, error) { return nil, f.Link("linkdir/file", "a/b/hard") },
	"link link":      func(f files) (any, error) { return nil, f.Link("link", "hard") },
	"link dir":       func(f files) (any, error) { return nil, f.Link("a", "hard") },
	"link old":       func(f files) (any, error) { return nil, f.Link("a/file", "a/other") },
	"rename":         func(f files) (any, error) { return nil, f.Rename("a/file", "a/b/file") },
	"rename dir":     func(f files) (any, error) { return nil, f.Rename("full", "a/full") },
	"rename below":   func(f files) (any, error) { return nil, f.Rename("a", "a/b/c") },
	"rename old":     func(f files) (any, error) { return nil, f.Rename("a/file", "a/other") },
	"rename link":    func(f files) (any, error) { return nil, f.Rename("link", "a/link") },
	"rename missing": func(f files) (any, error) { return nil, f.Rename("missing", "x") },
	"chmod":          func(f files) (any, error) { return nil, f.Chmod("link", 0o4751|fs.ModeSticky) },
	"chmod special": func(f files) (any, error) {
		return nil, f.Chmod("a", 0o711|fs.ModeSticky|fs.ModeSetgid|fs.ModeSetuid)
	},
	"chmod missing": func(f files) (any, error) { return nil, f.Chmod("dangling", 0o711) },
	"chown":         func(f files) (any, error) { return nil, f.Chown("link", 1, 2) },
	"chown half":    func(f files) (any, error) { return nil, f.Chown("a", -1, 2) },
	"lchown":        func(f files) (any, error) { return nil, f.Lchown("link", 1, 2) },
	"chtimes": func(f files) (any, error) {
		err := f.Chtimes("link", time.Time{}, now)
		i, _ := f.Stat("a/file")
		return i.ModTime().Equal(now), err
	},
	"stat":       func(f files) (any, error) { return described(f.Stat("linkdir")) },
	"stat up":    func(f files) (any, error) { return described(f.Stat("a/up")) },
	"stat root":  func(f files) (any, error) { return described(f.Stat(".")) },
	"lstat":      func(f files) (any, error) { return described(f.Lstat("linkdir")) },
	"lstat none": func(f files) (any, error) { return described(f.Lstat("a/nowhere/x")) },
}

func reading(name string) func(files) (any, error) {
	return func(f files) (any, error) {
		b, err := f.ReadFile(name)
		return string(b), err
	}
}

func described(i fs.FileInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return fmt.Sprint(i.Name(), i.Mode(), i.IsDir()), nil
}

// A Root does what os.Root does: the same results, and errors of the same
// class, as long as no link is absolute.
func TestLikeOS(t *testing.T) {
	t.Parallel()
	classes := []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrClosed}
	for name, do := range deeds {
		t.Run(name, func(t *testing.T) {
			theirs, our := tree(t), tree(t)
			root, err := os.OpenRoot(theirs)
			require.NoError(t, err)
			defer root.Close()
			want, wantErr := do(root)
			got, gotErr := do(ours{at(t, our), t})
			require.Equal(t, want, got)
			require.Equal(t, wantErr == nil, gotErr == nil, "%v, not %v", gotErr, wantErr)
			for _, class := range classes {
				require.Equal(t, errors.Is(wantErr, class), errors.Is(gotErr, class), "%v, not %v", gotErr, wantErr)
			}
			if gotErr != nil {
				require.IsType(t, &fs.PathError{}, gotErr)
			}
			require.Equal(t, listing(t, theirs), listing(t, our))
		})
	}
}

// The mode is what was asked for, whatever the program's umask is. It is the
// whole process's, so this test is not parallel.
func TestUmask(t *testing.T) {
	r := at(t, t.TempDir())
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	require.NoError(t, r.WriteFile("file", nil, 0o666))
	require.NoError(t, r.Mkdir("dir", 0o777|fs.ModeSticky))
	require.NoError(t, r.Chmod("dir", 0o777|fs.ModeSetgid))
	require.NoError(t, r.MkdirAll("dir/a/b", 0o755))
	for name, mode := range map[string]fs.FileMode{
		"file": 0o666, "dir": fs.ModeDir | fs.ModeSetgid | 0o777, "dir/a": fs.ModeDir | fs.ModeSetgid | 0o755, "dir/a/b": fs.ModeDir | fs.ModeSetgid | 0o755,
	} {
		i, err := r.Stat(name)
		require.NoError(t, err)
		require.Equal(t, mode, i.Mode(), name)
	}
}

// Writing stays below the root as reading does, and touches neither devices
// nor pipes. None of these may wait.
func TestWriteNoEscape(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	r := at(t, dir)
	require.NoError(t, os.WriteFile(outside+"/canary", []byte("canary"), 0o600))
	before := listing(t, outside)
	require.NoError(t, os.Symlink(outside, dir+"/out"))
	require.NoError(t, os.Symlink(outside+"/canary", dir+"/canary"))
	require.NoError(t, os.Symlink("../../../../../../../.."+outside, dir+"/up"))
	require.NoError(t, os.Symlink("/proc/self/cwd", dir+"/cwd"))
	ctx := t.Context()
	for _, name := range []string{"out/canary", "out/new", "canary", "up/canary", "up/new", "../canary", "../../x", "cwd/x", "out", "up"} {
		_ = r.WriteFile(name, []byte("changed"), 0o644)
		_ = r.Mkdir(name, 0o755)
		_ = r.Chmod(name, 0o777)
		_ = r.Chown(name, 1, 1)
		_ = r.Lchown(name, 1, 1)
		_ = r.Chtimes(name, now, now)
		_ = r.Symlink("x", name)
		_ = r.Link(name, "linked")
		_ = r.Rename(name, "moved")
		_ = r.MkdirAll(name, 0o755)
		_ = r.RemoveAll(ctx, name)
		_ = r.Remove(name)
		for _, name := range []string{name, "moved", "linked"} {
			b, _ := r.ReadFile(name)
			require.NotContains(t, string(b), "canary")
			_ = r.RemoveAll(ctx, name)
		}
	}
	require.Equal(t, before, listing(t, outside))

	require.NoError(t, unix.Mkfifo(dir+"/fifo", 0o644))
	require.NoError(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
	for _, name := range []string{"fifo", "null"} {
		require.ErrorIs(t, r.WriteFile(name, []byte("x"), 0o644), rootfs.ErrNotRegular)
		_, err := r.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	_, err := r.OpenFile("x", os.O_RDWR|unix.O_DIRECT, 0)
	require.ErrorIs(t, err, fs.ErrInvalid, "a flag that is not for everyone")
}

// A process that has a lease on a file makes those who open it wait; not us.
func TestLease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := at(t, dir)
	f, err := os.OpenFile(dir+"/leased", os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	require.NoError(t, err)
	for _, err := range []error{r.WriteFile("leased", nil, 0), func() error { _, err := r.ReadFile("leased"); return err }()} {
		require.ErrorIs(t, err, unix.EAGAIN)
		require.ErrorContains(t, err, "open leased: a process has a lease on it")
	}
}

// Calls on a root that is being closed work, or say that it is closed.
func TestCloseMeanwhile(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	for range 100 {
		r, err := rootfs.OpenWritable([]mount.Mount{{Type: "bind", Source: dir}}, "")
		require.NoError(t, err)
		done := make(chan error)
		for range 2 {
			go func() {
				for {
					if _, err := r.ReadFile("link"); err != nil {
						done <- err
						return
					}
				}
			}()
		}
		require.NoError(t, r.Close())
		for range 2 {
			require.ErrorIs(t, <-done, fs.ErrClosed)
		}
	}
}
