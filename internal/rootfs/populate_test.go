package rootfs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

func openDir(t *testing.T, dir string) *rootfs.Root {
	t.Helper()
	r, err := rootfs.OpenDir(dir)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func stat(t *testing.T, name string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t)
}

// All that a directory is arrives: what is in it and its own owner, mode, time and
// attributes.
func TestPopulate(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	from := filepath.Join(src, "var/lib/db")
	require.NoError(t, os.MkdirAll(filepath.Join(from, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(from, "sub/file"), []byte("content"), 0o640))
	require.NoError(t, os.Chown(filepath.Join(from, "sub/file"), 999, 998))
	require.NoError(t, os.Link(filepath.Join(from, "sub/file"), filepath.Join(from, "again")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(from, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(from, "caf\xe9"), nil, 0o600))
	require.NoError(t, os.Symlink("var/lib", filepath.Join(src, "short")))
	require.NoError(t, os.Chown(from, 70, 71))
	require.NoError(t, unix.Chmod(from, 0o2750))
	require.NoError(t, unix.Setxattr(from, "user.a", []byte("b"), 0))
	then := time.Unix(1e9, 0)
	require.NoError(t, os.Chtimes(from, then, then))

	r := openDir(t, dst)
	empty, err := r.Empty()
	require.NoError(t, err)
	require.True(t, empty)
	require.NoError(t, r.Populate(t.Context(), openDir(t, src), "/short/db")) // a link on the way
	empty, err = r.Empty()
	require.NoError(t, err)
	require.False(t, empty)

	st := stat(t, dst)
	require.EqualValues(t, []uint32{70, 71, 0o42750}, []uint32{st.Uid, st.Gid, st.Mode})
	require.EqualValues(t, 1e9, st.Mtim.Sec)
	value := make([]byte, 10)
	n, err := unix.Getxattr(dst, "user.a", value)
	require.NoError(t, err)
	require.Equal(t, "b", string(value[:n]))
	file := stat(t, filepath.Join(dst, "sub/file"))
	require.EqualValues(t, []uint32{999, 998, 0o100640}, []uint32{file.Uid, file.Gid, file.Mode})
	require.Equal(t, file.Ino, stat(t, filepath.Join(dst, "again")).Ino)
	link, err := os.Readlink(filepath.Join(dst, "link"))
	require.NoError(t, err)
	require.Equal(t, "/etc/passwd", link)
	require.FileExists(t, filepath.Join(dst, "caf\xe9"), "which is not UTF-8")
}

func TestPopulateHostile(t *testing.T) {
	src := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "secret"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(src, "away")))
	require.NoError(t, os.Symlink("loop", filepath.Join(src, "loop")))
	require.NoError(t, os.Mkdir(filepath.Join(src, "devices"), 0o700))
	require.NoError(t, unix.Mknod(filepath.Join(src, "devices/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	img := openDir(t, src)
	for name, class := range map[string]error{
		"/not/there": nil, "/away": nil, "/away/secret": nil, "/../../" + outside: nil,
		"/file": errdefs.ErrInvalidArgument, "/file/x": errdefs.ErrInvalidArgument,
		"/loop": errdefs.ErrInvalidArgument, "/devices": errdefs.ErrInvalidArgument,
	} {
		dst := openDir(t, t.TempDir())
		err := dst.Populate(t.Context(), img, name)
		if class == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, class, name)
		}
		empty, err := dst.Empty()
		require.NoError(t, err)
		require.True(t, empty, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, openDir(t, t.TempDir()).Populate(ctx, img, "/devices"), context.Canceled)
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	r := openDir(t, dir)
	usage := func() int64 {
		n, err := r.Usage(t.Context())
		require.NoError(t, err)
		return n
	}
	none := usage()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), data, 0o600))
	one := usage()
	require.InDelta(t, 1<<20, one-none, 64<<10)
	require.NoError(t, os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "again")))
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "root")))
	require.InDelta(t, one, usage(), 4096, "a file counts once, and a link leads nowhere")
	require.NoError(t, os.Truncate(filepath.Join(dir, "file"), 1<<40))
	require.InDelta(t, one, usage(), 64<<10, "holes take up nothing")
}

// A container can make a tree that is deeper than a path is long, and than there may
// be open files.
func TestUsageDeep(t *testing.T) {
	dir := t.TempDir()
	r := openDir(t, dir)
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	const levels = 3000
	for i := range levels {
		require.NoError(t, unix.Mkdirat(at, "deeper", 0o700), i)
		next, err := unix.Openat(at, "deeper", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		unix.Close(at)
		at = next
	}
	f, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	require.NoError(t, err)
	_, err = unix.Write(f, make([]byte, 1<<20))
	require.NoError(t, err)
	unix.Close(f)
	unix.Close(at)
	n, err := r.Usage(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(1<<20), fmt.Sprint(levels, " levels down"))
	require.NoError(t, rootfs.Discard(filepath.Join(dir, "deeper")))
}
