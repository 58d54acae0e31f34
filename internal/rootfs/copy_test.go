package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// rich makes a tree with all that a copy keeps.
func rich(t testing.TB) string {
	t.Helper()
	dir := tree(t)
	for _, err := range []error{
		os.WriteFile(dir+"/setuid", []byte("#!"), 0o755),
		os.Chown(dir+"/setuid", 0, 42),
		os.Chmod(dir+"/setuid", 0o755|fs.ModeSetuid|fs.ModeSetgid),
		os.Chmod(dir+"/empty", 0o777|fs.ModeSticky),
		os.Chown(dir+"/a", 1000, 1001),
		os.Lchown(dir+"/link", 7, 8),
		os.Link(dir+"/a/file", dir+"/a/b/hard"),
		os.Link(dir+"/a/file", dir+"/a/hard2"),
		os.Link(dir+"/link", dir+"/hardlink"),
		os.WriteFile(dir+"/a/with spaces, ünicode and \\", nil, 0o400),
		os.WriteFile(dir+"/a/\xff", nil, 0o400),
		os.WriteFile(dir+"/"+strings.Repeat("long", 60), []byte("x"), 0o644),
		unix.Mkfifo(dir+"/fifo", 0o620),
		unix.Setxattr(dir+"/a/file", "user.note", []byte("of \x00 any bytes\n=\xff"), 0),
		unix.Setxattr(dir+"/a", "user.dir", []byte("too"), 0),
		unix.Setxattr(dir+"/setuid", "trusted.mark", []byte("x"), 0),
		// CAP_NET_RAW, as setcap cap_net_raw+ep has it: vfs_cap_data.
		unix.Setxattr(dir+"/a/other", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
		os.Chtimes(dir+"/a/file", now, now),
		os.Chtimes(dir+"/a/b", now, now.Add(time.Hour)),
		os.Chtimes(dir+"/a", now, now.Add(-time.Hour)),
		unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/dangling", []unix.Timespec{{Sec: 1}, {Sec: 1234, Nsec: 5678}}, unix.AT_SYMLINK_NOFOLLOW),
	} {
		require.NoError(t, err)
	}
	return dir
}

// details is a listing with times and extended attributes.
func details(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		i, err := d.Info()
		require.NoError(t, err)
		fmt.Fprint(&b, strings.TrimPrefix(p, dir), " ", i.ModTime().UnixNano())
		names := make([]byte, 4096)
		n, err := unix.Llistxattr(p, names)
		require.NoError(t, err)
		list := strings.Split(string(names[:n]), "\x00")
		slices.Sort(list)
		for _, name := range list {
			value := make([]byte, 4096)
			n, _ := unix.Lgetxattr(p, name, value)
			fmt.Fprintf(&b, " %s=%q", name, value[:max(n, 0)])
		}
		fmt.Fprintln(&b)
		return nil
	}))
	all := listing(t, dir)
	_, below, _ := strings.Cut(all, "\n") // the directory itself is not copied
	return below + b.String()
}

// tarred is what Pack writes.
func tarred(t testing.TB, r *rootfs.Root, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.Pack(t.Context(), name, &b))
	return b.Bytes()
}

// run runs GNU tar.
func run(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("tar", append([]string{"--xattrs", "--xattrs-include=*", "--format=posix", "--pax-option=delete=atime,delete=ctime"}, args...)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &errs)
	return out
}

// Everything comes through a tar: one of ours, read by us or by GNU tar, and
// one of GNU tar's.
func TestTar(t *testing.T) {
	t.Parallel()
	src := rich(t)
	want := details(t, src)
	packed := tarred(t, at(t, src), ".")
	for name, unpack := range map[string]func(dst string){
		"ours":        func(dst string) { require.NoError(t, at(t, dst).Unpack(t.Context(), ".", bytes.NewReader(packed))) },
		"ours by tar": func(dst string) { run(t, packed, "-xp", "-C", dst) },
		"tar's by us": func(dst string) {
			require.NoError(t, at(t, dst).Unpack(t.Context(), "/", bytes.NewReader(run(t, nil, "-c", "-C", src, "."))))
		},
		"into another": func(dst string) { require.NoError(t, at(t, dst).Unpack(t.Context(), "", bytes.NewReader(packed))) },
	} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			unpack(dst)
			require.Equal(t, want, details(t, dst))
		})
	}
}

// A tar has names below the last element of what was asked for.
func TestPackNames(t *testing.T) {
	t.Parallel()
	r := at(t, tree(t))
	for name, want := range map[string][]string{
		"full/of":   {"of/", "of/things/"},
		"/full":     {"full/", "full/of/", "full/of/things/"},
		"a/file":    {"file"},
		"link":      {"link"},
		"empty":     {"empty/"},
		"linkdir/b": {"b/"},
	} {
		var got []string
		for in := tar.NewReader(bytes.NewReader(tarred(t, r, name))); ; {
			hdr, err := in.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			got = append(got, hdr.Name)
			require.Empty(t, hdr.Uname+hdr.Gname)
		}
		require.Equal(t, want, got, name)
	}
	require.ErrorIs(t, r.Pack(t.Context(), "missing", io.Discard), fs.ErrNotExist)
	require.ErrorIs(t, r.Pack(t.Context(), "a/file/x", io.Discard), unix.ENOTDIR)
}

// Everything comes from a file system of the host's, or of another container.
func TestCopy(t *testing.T) {
	t.Parallel()
	src := rich(t)
	require.NoError(t, os.Remove(src+"/a/\xff")) // os.DirFS lists it, and can't open it
	require.NoError(t, os.Chtimes(src+"/a", now, now.Add(-time.Hour)))
	want := details(t, src)
	for name, fsys := range map[string]fs.FS{"os": os.DirFS(src), "ours": at(t, src)} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			r := at(t, dst)
			require.NoError(t, r.Copy(t.Context(), "new/dir", fsys))
			require.Equal(t, want, details(t, dst+"/new/dir"))
			// Over itself it is the same, but for the times of directories.
			want := listing(t, dst)
			require.NoError(t, r.Copy(t.Context(), "new/dir", fsys))
			require.Equal(t, want, listing(t, dst))
		})
	}
}

// What is there is replaced, links are not followed in the last place, but in
// those before, and directories stay what they are.
func TestCopyOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := at(t, dir)
	for _, err := range []error{
		os.MkdirAll(dir+"/usr/bin", 0o711),
		os.Symlink("/usr/bin", dir+"/bin"),
		os.WriteFile(dir+"/usr/bin/old", []byte("old"), 0o644),
		os.Symlink("old", dir+"/usr/bin/tool"),
		os.Mkdir(dir+"/tmp", 0o777),
		os.Chmod(dir+"/tmp", 0o777|fs.ModeSticky),
	} {
		require.NoError(t, err)
	}
	require.NoError(t, r.Copy(t.Context(), ".", fstest.MapFS{
		"bin/tool":     {Data: []byte("tool"), Mode: 0o755},
		"tmp":          {Mode: fs.ModeDir | 0o700},
		"tmp/x/y":      {Data: []byte("y")},
		"usr/bin/link": {Data: []byte("../../x"), Mode: fs.ModeSymlink},
	}))
	got := listing(t, dir)
	for _, line := range []string{
		"/bin Lrwxrwxrwx 0:0 nlink 1 -> /usr/bin\n", "/usr/bin drwx--x--x ", "/usr/bin/old -rw-r--r-- 0:0 nlink 1 \"old\"",
		"/usr/bin/tool -rwxr-xr-x 0:0 nlink 1 \"tool\"", "/usr/bin/link Lrwxrwxrwx 0:0 nlink 1 -> ../../x\n", "/tmp/x/y ----------",
	} {
		require.Contains(t, got, line)
	}
	i, err := r.Stat("tmp")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|fs.ModeSticky|0o777, i.Mode())
	require.ErrorIs(t, r.Copy(t.Context(), "usr", fstest.MapFS{"bin": {}}), unix.EISDIR)
	require.ErrorIs(t, r.Copy(t.Context(), "usr/bin", fstest.MapFS{"old/x": {}}), unix.ENOTDIR)
	require.ErrorIs(t, r.Copy(t.Context(), "usr/bin/old", fstest.MapFS{"x": {}}), unix.ENOTDIR)
}

// A tar that means ill writes where it wants in the root, and nowhere else,
// and makes no devices.
func TestUnpackHostile(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(outside+"/canary", []byte("canary"), 0o600))
	before := listing(t, outside)
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: kind, Linkname: target}
	}
	up := strings.Repeat("../", 20) + outside
	for name, headers := range map[string][]tar.Header{
		"names":     {file("../x"), file("/y"), file(up + "/canary"), file(outside + "/canary"), file("a/../../../z")},
		"link":      {link(tar.TypeSymlink, "out", outside), file("out/canary")},
		"up":        {link(tar.TypeSymlink, "out", up), file("out/canary")},
		"hard":      {link(tar.TypeLink, "hard", outside+"/canary"), file("hard")},
		"hard up":   {link(tar.TypeLink, "hard", up+"/canary")},
		"hard link": {link(tar.TypeSymlink, "out", outside), link(tar.TypeLink, "hard", "out/canary"), file("hard")},
		"dir":       {link(tar.TypeSymlink, "out", outside), {Name: "out", Typeflag: tar.TypeDir, Mode: 0o777}},
		"device":    {{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}},
		"block":     {{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 254, Mode: 0o666}},
		"overlay":   {{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range headers {
				require.NoError(t, w.WriteHeader(&h))
			}
			require.NoError(t, w.Close())
			dir := t.TempDir()
			err := at(t, dir).Unpack(t.Context(), "dst", &b)
			require.Equal(t, before, listing(t, outside))
			switch name {
			case "device", "block":
				require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			case "names":
				require.NoError(t, err)
				for _, f := range []string{"x", "y", "z", outside + "/canary"} {
					require.FileExists(t, dir+"/dst/"+f)
				}
			case "overlay":
				require.NoError(t, err)
				require.NotContains(t, details(t, dir), "overlay")
			}
		})
	}
	require.ErrorIs(t, at(t, t.TempDir()).Unpack(t.Context(), ".", strings.NewReader(strings.Repeat("no tar", 1000))), errdefs.ErrInvalidArgument)
	require.ErrorIs(t, at(t, t.TempDir()).Unpack(t.Context(), ".", bytes.NewReader(tarred(t, at(t, rich(t)), ".")[:3000])), io.ErrUnexpectedEOF)
}

// huge is a file system with a file of a size that no memory has.
type huge struct {
	fstest.MapFS
	left *int64
}

func (h huge) Open(name string) (fs.File, error) {
	f, err := h.MapFS.Open(name)
	if name == "huge" {
		return hugeFile{f, h.left}, err
	}
	return f, err
}

type hugeFile struct {
	fs.File
	left *int64
}

func (h hugeFile) Read(b []byte) (int, error) {
	if *h.left -= int64(len(b)); *h.left < 0 {
		return 0, io.EOF
	}
	return len(b), nil
}

// What is copied is not held in memory, in either direction.
func TestCopyStreams(t *testing.T) {
	const size = 64 << 20
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	dir := t.TempDir()
	r := at(t, dir)
	left := int64(size)
	before := allocated()
	require.NoError(t, r.Copy(t.Context(), ".", huge{fstest.MapFS{"huge": {}}, &left}))
	require.Less(t, allocated()-before, uint64(8<<20))

	before = allocated()
	var n counter
	require.NoError(t, r.Pack(t.Context(), "huge", &n))
	require.Greater(t, int64(n), int64(size))
	require.Less(t, allocated()-before, uint64(8<<20))
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// The end of ctx ends a copy in the middle of a file.
func TestCopyCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := at(t, dir)
	left := int64(1 << 60)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if i, err := os.Stat(dir + "/huge"); err == nil && i.Size() > 0 {
				cancel()
				return
			}
		}
	}()
	require.ErrorIs(t, r.Copy(ctx, ".", huge{fstest.MapFS{"huge": {}}, &left}), context.Canceled)
	require.NoError(t, os.Truncate(dir+"/huge", 1<<40))
	ctx, cancel = context.WithCancel(t.Context())
	var n counter
	require.ErrorIs(t, r.Pack(ctx, ".", writerFunc(func(p []byte) (int, error) {
		if n.Write(p); n > 1<<20 {
			cancel()
		}
		return len(p), nil
	})), context.Canceled)
	require.ErrorIs(t, r.RemoveAll(ctx, "."), fs.ErrInvalid)
	full := errors.New("full")
	require.ErrorIs(t, r.Pack(t.Context(), ".", writerFunc(func([]byte) (int, error) { return 0, full })), full)
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// The kernel's own file systems are not copied.
func TestPackKernel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/proc", 0o555))
	require.NoError(t, os.Mkdir(dir+"/tmp", 0o777))
	require.NoError(t, unix.Mount("proc", dir+"/proc", "proc", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir+"/proc", unix.MNT_DETACH)) })
	require.NoError(t, unix.Mount("tmpfs", dir+"/tmp", "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir+"/tmp", unix.MNT_DETACH)) })
	require.NoError(t, os.WriteFile(dir+"/tmp/file", nil, 0o644))
	dst := t.TempDir()
	require.NoError(t, at(t, dst).Unpack(t.Context(), ".", bytes.NewReader(tarred(t, at(t, dir), "."))))
	require.FileExists(t, dst+"/tmp/file")
	left, err := os.ReadDir(dst + "/proc")
	require.NoError(t, err)
	require.Empty(t, left)
}
