package image_test

import (
	"archive/tar"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

// imported stores an image made by hand.
func imported(t testing.TB, e *ctor.Engine, r raw) *image.Image {
	t.Helper()
	list, err := image.Import(t.Context(), e, strings.NewReader(string(layoutOf(t, "ctor.test/raw:1", r))))
	require.NoError(t, err)
	return list[0]
}

// files opens the files of an image until the test ends.
func files(t testing.TB, i *image.Image) *image.FS {
	t.Helper()
	f, err := i.FS(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// What io/fs demands of a file system, of the whole image: one layer, several
// that change each other, and none.
func TestFS(t *testing.T) {
	t.Parallel()
	e := open(t)
	var over []layer.Layer
	for _, headers := range [][]tar.Header{
		{file("etc/passwd", "root"), file("a/one", "1"), file("a/two", "2"), file("gone/file", "x"), {Name: "abs", Typeflag: tar.TypeSymlink, Linkname: "/a"}},
		{file("a/two", "replaced"), file("gone/.wh.file", ""), file("etc/.wh.passwd", "")},
		{file("a/three", "3"), {Name: "a/deep", Typeflag: tar.TypeDir, Mode: 0o1770, Uid: 12, Gid: 34}, {Name: "a/link", Typeflag: tar.TypeLink, Linkname: "a/three"}},
	} {
		data := tarOf(t, headers...)
		l, err := layer.FromTar(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(data))), nil })
		require.NoError(t, err)
		over = append(over, l)
	}
	one, err := image.New(t.Context(), e, "ctor.test/one", ocispec.ImageConfig{}, over[0])
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(files(t, one), "a/one", "a/two", "gone/file", "abs", "etc/passwd"))
	img, err := one.Derive(t.Context(), "ctor.test/over", nil, over[1:]...)
	require.NoError(t, err)
	f := files(t, img)
	require.NoError(t, fstest.TestFS(f, "a/one", "a/two", "a/three", "a/deep", "a/link", "abs", "gone", "etc"))
	b, err := f.ReadFile("abs/two")
	require.NoError(t, err)
	require.Equal(t, "replaced", string(b))
	for _, name := range []string{"gone/file", "etc/passwd"} {
		_, err = f.Stat(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, err, ctor.ErrNotFound)
	}
	i, err := f.Stat("a/deep")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|fs.ModeSticky|0o770, i.Mode())

	empty, err := image.New(t.Context(), e, "ctor.test/empty", ocispec.ImageConfig{})
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(files(t, empty)))

	for _, i := range []*image.Image{img, one, empty} {
		require.NoError(t, i.Remove(t.Context()))
	}
	b, err = f.ReadFile("a/three")
	require.NoError(t, err, "it stays until it is closed")
	require.Equal(t, "3", string(b))
}

// An image for another machine can be read.
func TestFSForeign(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := imported(t, e, rawImage(t, foreign, nil, tarOf(t, file("bin/x", "code of another machine"))))
	b, err := files(t, img).ReadFile("bin/x")
	require.NoError(t, err)
	require.Equal(t, "code of another machine", string(b))
}

// What an image means ill by gives an error of a clear class at once.
func TestFSHostile(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	e := open(t)
	img := imported(t, e, rawImage(t, native, nil, tarOf(t,
		tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 254},
		tar.Header{Name: "fifo", Typeflag: tar.TypeFifo},
		tar.Header{Name: "host", Typeflag: tar.TypeSymlink, Linkname: "/etc/machine-id"},
		tar.Header{Name: "up", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../../etc/machine-id"},
		tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "/loop"},
		tar.Header{Name: "\xff", Typeflag: tar.TypeDir},
		file("file", "x"),
	)))
	f := files(t, img)
	for name, class := range map[string]error{
		"null": fs.ErrInvalid, "disk": fs.ErrInvalid, "fifo": ctor.ErrInvalid, "host": fs.ErrNotExist, "up": fs.ErrNotExist,
		"loop": unix.ELOOP, "file/x": unix.ENOTDIR, "/file": fs.ErrInvalid, "../file": fs.ErrInvalid, "\xff": ctor.ErrInvalid, "": fs.ErrInvalid,
	} {
		_, err := f.ReadFile(name)
		require.ErrorIs(t, err, class, name)
		_, err = f.Open(name)
		require.ErrorIs(t, err, class, name)
		require.IsType(t, &fs.PathError{}, err)
	}
	list, err := f.ReadDir(".")
	require.NoError(t, err)
	require.Len(t, list, 7)
}

// Whoever closes it, or nobody, nothing is left.
func TestFSClose(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := fixture.Busybox(t, e)
	require.NoError(t, files(t, img).Close()) // unpacks it
	unchanged(t, e, func() {
		f, err := img.FS(t.Context())
		require.NoError(t, err)
		file, err := f.Open("etc/passwd")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, f.Close())
		_, err = f.Stat("etc")
		require.ErrorIs(t, err, fs.ErrClosed)
		b, err := io.ReadAll(file)
		require.NoError(t, err)
		require.NotEmpty(t, b)
		require.NoError(t, file.Close())
	})
	unchanged(t, e, func() {
		for range 3 {
			sub, err := fs.Sub(forgotten(t, img), "etc")
			require.NoError(t, err)
			runtime.GC()
			_, err = fs.ReadFile(sub, "passwd")
			require.NoError(t, err, "it is not forgotten yet")
		}
		require.Eventually(t, func() bool {
			runtime.GC()
			return !slices.ContainsFunc(fixture.Count(t, e)["snapshots"], func(s string) bool { return strings.HasPrefix(s, "files-") })
		}, 10*time.Second, 20*time.Millisecond)
	})
	f, err := img.FS(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Close())
	_, err = f.Stat("etc")
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, err, ctor.ErrClosed)
	_, err = img.FS(t.Context())
	require.ErrorIs(t, err, ctor.ErrClosed)
}

func forgotten(t testing.TB, img *image.Image) fs.FS {
	f, err := img.FS(t.Context())
	require.NoError(t, err)
	return f
}

// A call that fails leaves nothing.
func TestFSMissing(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := imported(t, e, rawImage(t, native, nil, tarOf(t, file("x", "x"))))
	require.NoError(t, img.Remove(t.Context()))
	collect(t, e)
	unchanged(t, e, func() {
		_, err := img.FS(t.Context())
		require.ErrorIs(t, err, ctor.ErrNotFound)
	})
}
