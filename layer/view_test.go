package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

func fsOf(t *testing.T, l layer.Layer) fs.FS {
	t.Helper()
	require.NoError(t, l.Err())
	fsys, err := l.FS(t.Context())
	require.NoError(t, err)
	return fsys
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

func link(flag byte, name, target string) entry {
	return entry{Header: tar.Header{Typeflag: flag, Name: name, Linkname: target, Mode: 0o777}}
}

// A layer's view holds what the layer was made from, down to the digest.
func TestFSRoundTrip(t *testing.T) {
	l := layer.FromFS(tree(), nil)
	require.Equal(t, l.DiffID, layer.FromFS(fsOf(t, l), nil).DiffID)
}

func TestFSConforms(t *testing.T) {
	l := of(string(archive(t,
		dir("./", 0o700), dir("./usr/", 0o755), dir("usr/bin", 0o755),
		file("./usr/bin/a", "aaa"), file("/opt/b", "bbb"), file("empty", ""),
		link(tar.TypeSymlink, "bin", "usr/bin"), link(tar.TypeSymlink, "usr/up", "../../../opt/./b"),
		file("bin/through", "t"), link(tar.TypeLink, "hard", "bin/through"),
	)))
	fsys := fsOf(t, l)
	require.NoError(t, fstest.TestFS(fsys, "usr/bin/a", "opt/b", "empty", "bin", "usr/up", "usr/bin/through", "hard"))

	for name, want := range map[string]string{
		"bin/a": "aaa", "usr/up": "bbb", "usr/bin/through": "t", "hard": "t", "empty": "",
	} {
		got, err := fs.ReadFile(fsys, name)
		require.NoError(t, err)
		require.Equal(t, want, string(got), name)
	}
	info, err := fs.Stat(fsys, ".")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o700, info.Mode())
	info, err = fs.Stat(fsys, "opt")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o755, info.Mode(), "implied")
	target, err := fs.ReadLink(fsys, "bin")
	require.NoError(t, err)
	require.Equal(t, "usr/bin", target)
	_, err = fs.ReadLink(fsys, "empty")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestFSOwner(t *testing.T) {
	fsys := fsOf(t, layer.FromFS(fstest.MapFS{"x": {}}, &layer.Options{UID: 7, GID: 8}))
	info, err := fs.Stat(fsys, "x")
	require.NoError(t, err)
	h := info.Sys().(*tar.Header)
	require.Equal(t, 7, h.Uid)
	require.Equal(t, 8, h.Gid)
}

// What must not be shown, or not as it claims to be.
func TestFSHostile(t *testing.T) {
	fsys := fsOf(t, of(string(archive(t,
		file("../../etc/passwd", "climbs"),
		file("etc/.wh.shadow", ""), file("etc/.wh..wh..opq", ""), file(".wh.d/x", ""),
		file("etc/latin\xe9", "no utf-8"),
		link(tar.TypeLink, "lost", "usr/bin/below"),
		link(tar.TypeSymlink, "loop", "loop"), link(tar.TypeSymlink, "out", "../../../../etc"),
		link(tar.TypeSymlink, "dangling", "nowhere"),
		entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "liar", Mode: 0o40755}},
		file("twice", "1"), dir("twice", 0o755), dir("was", 0o755), file("was/x", ""), file("was", "2"),
		dir("etc/", 0o711),
	))))
	var all []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		all = append(all, name)
		return err
	}))
	require.Equal(t, []string{".", "dangling", "etc", "etc/passwd", "liar", "loop", "lost", "null", "out", "twice", "was"}, all)

	got, err := fs.ReadFile(fsys, "out/passwd")
	require.NoError(t, err)
	require.Equal(t, "climbs", string(got))
	info, err := fs.Stat(fsys, "etc")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o711, info.Mode(), "the last entry holds, the files stay")
	info, err = fs.Stat(fsys, "liar")
	require.NoError(t, err)
	require.True(t, info.Mode().IsRegular())
	info, err = fs.Stat(fsys, "null")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDevice|fs.ModeCharDevice, info.Mode())

	_, err = fs.ReadFile(fsys, "lost")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "usr/bin/below")
	_, err = fs.ReadFile(fsys, "null")
	require.ErrorIs(t, err, fs.ErrInvalid)
	for _, name := range []string{"dangling", "nowhere", "etc/passwd/x"} {
		_, err = fsys.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	_, err = fsys.Open("loop")
	require.ErrorContains(t, err, "symbolic links")
	_, err = fsys.Open("../etc")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestFSInvalid(t *testing.T) {
	for name, content := range map[string][]byte{
		"below a file":         archive(t, file("a", ""), file("a/b", "")),
		"far below a file":     archive(t, file("a", ""), file("a/b/c", "")),
		"below a looping link": archive(t, link(tar.TypeSymlink, "a", "a"), file("a/b", "")),
		"no tar":               bytes.Repeat([]byte("no tar. "), 100),
	} {
		_, err := of(string(content)).FS(t.Context())
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, name)
		require.ErrorContains(t, err, "layer: fs of sha256:")
	}
	tooLong := archive(t, dir(strings.Repeat("a/", 2049), 0o755))
	_, err := of(string(tooLong)).FS(t.Context())
	require.ErrorIs(t, err, errdefs.ErrResourceExhausted)

	_, err = claiming("a", string(archive(t, file("a", "")))).FS(t.Context())
	require.ErrorIs(t, err, errdefs.ErrDataLoss)
}

// The view reads the layer again for each file, and says so when it isn't the same.
func TestFSChangesLater(t *testing.T) {
	content := archive(t, file("a", "1"), file("b", "22"))
	stored := content
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return opener(stored)() })
	require.NoError(t, err)
	fsys := fsOf(t, l)
	for name, now := range map[string][]byte{
		"other size": archive(t, file("a", "1"), file("b", "333")),
		"shorter":    archive(t, file("a", "1")),
		"empty":      archive(t),
		"cut":        content[:600],
	} {
		stored = now
		_, err := fs.ReadFile(fsys, "b")
		require.ErrorIs(t, err, errdefs.ErrDataLoss, name)
	}
}

func TestFSCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := layer.FromFS(fstest.MapFS{"a": {Data: noise(1 << 20)}}, nil)
	fsys, err := l.FS(ctx)
	require.NoError(t, err)
	f, err := fsys.Open("a")
	require.NoError(t, err)
	_, err = f.Read(make([]byte, 10))
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(f)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, f.Close())
	_, err = l.FS(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFSFile(t *testing.T) {
	data := noise(200_000)
	fsys := fsOf(t, layer.FromFS(fstest.MapFS{"a": {Data: data}}, nil))
	f, err := fsys.Open("a")
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(f, data))
	require.NoError(t, f.Close())
	_, err = f.Read(make([]byte, 1))
	require.ErrorIs(t, err, fs.ErrClosed)
	require.NoError(t, f.Close())
}
