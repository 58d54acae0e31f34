package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

// stacked lists what layers make together, with the number of each one's layer.
func stacked(t *testing.T, layers ...layer.Layer) (list []string) {
	t.Helper()
	for f, err := range layer.Files(t.Context(), layers...) {
		require.NoError(t, err)
		what := fmt.Sprintf("%d %v %s", f.Layer, f.Info.Mode(), f.Path)
		if f.Info.Mode().IsRegular() {
			what += fmt.Sprintf(" %d", f.Info.Size())
		}
		list = append(list, what)
	}
	return list
}

// ofTar makes a layer of entries: a name ends in "/" for a directory, and has
// "->" before the target of a symbolic link, and "=" of a hard one.
func ofTar(t *testing.T, headers ...tar.Header) layer.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.CopyN(w, zeros{}, h.Size)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	return l
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func reg(name string, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}
}

func directory(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: time.Unix(1, 0)}
}

func TestFiles(t *testing.T) {
	base := ofTar(t, directory("./", 0o700), directory("etc/", 0o755), reg("etc/a", 1), reg("etc/b", 2), reg("etc/c", 3),
		reg("opt/x/y", 4), reg("srv/old", 5), tar.Header{Typeflag: tar.TypeSymlink, Name: "lib", Linkname: "usr/lib", Mode: 0o777},
		reg("usr/lib/z", 6), reg("home/file", 7))
	top := ofTar(t, reg("etc/b", 20), reg("etc/.wh.a", 0),
		reg("srv/new", 50), reg("srv/.wh..wh..opq", 0), // whatever the order
		reg("opt/x/own", 8), reg("opt/.wh.x", 0),
		reg("lib/w", 9), // through the link
		tar.Header{Typeflag: tar.TypeLink, Name: "home/again", Linkname: "home/file"}, reg("home/.wh.file", 0),
		reg(".wh.none", 0), reg("none/.wh.x", 0))
	require.Equal(t, []string{
		"0 drwx------ /",
		"0 drwxr-xr-x /etc", "1 -rw-r--r-- /etc/b 20", "0 -rw-r--r-- /etc/c 3",
		"0 drwxr-xr-x /home", "0 -rw-r--r-- /home/again 7",
		"0 Lrwxrwxrwx /lib",
		"0 drwxr-xr-x /opt", "1 drwxr-xr-x /opt/x", "1 -rw-r--r-- /opt/x/own 8",
		"0 drwxr-xr-x /srv", "1 -rw-r--r-- /srv/new 50",
		"0 drwxr-xr-x /usr", "0 drwxr-xr-x /usr/lib", "1 -rw-r--r-- /usr/lib/w 9", "0 -rw-r--r-- /usr/lib/z 6",
	}, stacked(t, base, top))
	require.Equal(t, []string{"0 drwxr-xr-x /"}, stacked(t))

	// A list may be left in the middle, and ends with its context.
	for f, err := range layer.Files(t.Context(), base, top) {
		require.NoError(t, err)
		require.Equal(t, "/", f.Path)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for f, err := range layer.Files(ctx, base) {
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, f)
	}
	for _, err := range layer.Files(t.Context(), base, layer.Layer{}) {
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
}

// A layer that removes one large directory over and over takes no longer for it.
func TestFilesHostile(t *testing.T) {
	var headers []tar.Header
	for n := range 4_000 {
		headers = append(headers, reg(fmt.Sprintf("d/%d", n), 0))
	}
	for range 4_000 {
		headers = append(headers, reg("d/.wh..wh..opq", 0), reg(".wh.d", 0))
	}
	require.Len(t, stacked(t, ofTar(t, reg("d/below", 0)), ofTar(t, headers...)), 4_002)
}

// FS and Files agree on one layer.
func TestFilesIsFS(t *testing.T) {
	l := layer.FromFS(fstest.MapFS{"a/b": {Data: []byte("b"), Mode: 0o600}, "c": {Mode: 0o644}}, nil)
	fsys, err := l.FS(t.Context())
	require.NoError(t, err)
	var want, got []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		want = append(want, "/"+name)
		return err
	}))
	want[0] = "/"
	for f, err := range layer.Files(t.Context(), l) {
		require.NoError(t, err)
		got = append(got, f.Path)
	}
	require.Equal(t, want, got)
}
