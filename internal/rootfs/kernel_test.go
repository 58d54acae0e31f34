package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Whatever leads to a file of the kernel's, it is seen and not opened, and
// nothing is changed there.
func TestKernel(t *testing.T) {
	t.Parallel()
	r := at(t, "/")
	link := t.TempDir() + "/link"
	require.NoError(t, os.Symlink("/proc/sys", link))
	for op, call := range map[string]func() error{
		"read":      func() error { _, err := r.ReadFile("proc/version"); return err },
		"open":      func() error { _, err := r.Open("proc/sys/../version"); return err },
		"link":      func() error { _, err := r.Open(link + "/kernel/ostype"); return err },
		"write":     func() error { return r.WriteFile(link+"/kernel/hostname", nil, 0) },
		"sysfs":     func() error { _, err := r.OpenFile("sys/kernel/uevent_seqnum", os.O_RDONLY, 0); return err },
		"create":    func() error { return r.WriteFile(link+"/new", nil, 0o600) },
		"mkdir":     func() error { return r.MkdirAll(link+"/a/b", 0o700) },
		"symlink":   func() error { return r.Symlink("x", link+"/new") },
		"hard link": func() error { return r.Link(link+"/kernel/ostype", "tmp/x") },
		"rename":    func() error { return r.Rename("tmp/nothing", link+"/new") },
		"remove":    func() error { return r.Remove(link + "/kernel/ostype") },
		"removeall": func() error { return r.RemoveAll(t.Context(), link+"/kernel") },
		"chmod":     func() error { return r.Chmod(link, 0o700) },
		"chown":     func() error { return r.Chown(link+"/kernel/ostype", 1, 1) },
		"chtimes":   func() error { return r.Chtimes(link, time.Now(), time.Now()) },
		"find":      func() error { _, err := r.Find(link); return err },
		"pack":      func() error { return r.Pack(t.Context(), link+"/kernel/ostype", io.Discard) },
		"unpack": func() error {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f"}))
			require.NoError(t, w.Close())
			return r.Unpack(t.Context(), link, &b)
		},
	} {
		err := call()
		require.ErrorIs(t, err, rootfs.ErrNotRegular, op)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, op)
		require.ErrorContains(t, err, "in the kernel's", op)
	}
	i, err := r.Stat("proc/version")
	require.NoError(t, err)
	require.True(t, i.Mode().IsRegular())
	list, err := r.ReadDir(link)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	f, err := r.Open("proc")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, r.MkdirAll("proc/sys", 0o700), "which is there")
	_, err = r.ReadFile("dev/shm/../../etc/hostname")
	require.NotErrorIs(t, err, rootfs.ErrNotRegular)
}

// After the end of a context no name is looked up for it, and others go on.
func TestIn(t *testing.T) {
	t.Parallel()
	r := at(t, tree(t))
	ctx, cancel := context.WithCancel(t.Context())
	in := r.In(ctx)
	_, err := in.ReadFile("a/file")
	require.NoError(t, err)
	require.NoError(t, in.Err())
	cancel()
	require.ErrorIs(t, in.Err(), context.Canceled)
	for _, err := range []error{
		func() error { _, err := in.ReadFile("a/file"); return err }(),
		func() error { _, err := in.Stat("a"); return err }(),
		func() error { _, err := in.ReadDir("a"); return err }(),
		in.WriteFile("new", nil, 0o644), in.Mkdir("new", 0o755), in.Remove("a/file"), in.Chmod("a", 0o700),
	} {
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = r.ReadFile("a/file")
	require.NoError(t, err)
}

// What is read of a file without end ends with the context.
func TestReadEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(dir + "/holes")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(8<<40))
	require.NoError(t, f.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = at(t, dir).In(ctx).ReadFile("holes")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A number that the kernel would take for another one is none.
func TestOwners(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	r := at(t, dir)
	for _, id := range []int{1 << 32, 1<<32 - 1, 1<<32 + 1000, -2, -1 << 31} {
		require.ErrorIs(t, r.Chown("a", id, 0), fs.ErrInvalid, id)
		require.ErrorIs(t, r.Lchown("a", 0, id), errdefs.ErrInvalidArgument, id)
		for _, hdr := range []tar.Header{{Uid: id}, {Gid: id}} {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			hdr.Typeflag, hdr.Name, hdr.Mode = tar.TypeReg, "f", 0o4755
			if hdr.Uid < 0 || hdr.Gid < 0 {
				hdr.Format = tar.FormatGNU
			}
			require.NoError(t, w.WriteHeader(&hdr))
			require.NoError(t, w.Close())
			require.ErrorIs(t, r.Unpack(t.Context(), ".", &b), errdefs.ErrInvalidArgument, id)
			i, err := r.Stat("f")
			require.NoError(t, err)
			require.Zero(t, i.Mode()&fs.ModeSetuid, "what there is of it is not what it was to be")
		}
	}
	require.NoError(t, r.Chown("a", 1<<32-2, -1))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir+"/a", &st))
	require.EqualValues(t, 1<<32-2, st.Uid)
}
