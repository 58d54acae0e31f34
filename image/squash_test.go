package image_test

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

var then = time.Date(2020, 2, 3, 4, 5, 6, 789_000_000, time.UTC)

// motley is an image of layers that do all that layers can do to each other.
func motley(t testing.TB, e *ctor.Engine, p ocispec.Platform) *image.Image {
	t.Helper()
	dated := func(h tar.Header) tar.Header { h.ModTime = then; return h }
	list, err := image.Import(t.Context(), e, stream(layoutOf(t, "motley:"+p.Architecture, rawImage(t, p, nil,
		tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Uid: 7, ModTime: then},
			tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o750, Gid: 9, ModTime: then},
			dated(file("etc/old", "old")), dated(file("etc/kept", "kept")), dated(file("opt/a/b", "b")),
			dated(file("srv/gone", "gone")), dated(file("two", "names")), tar.Header{Typeflag: tar.TypeLink, Name: "names", Linkname: "two"},
			tar.Header{Typeflag: tar.TypeSymlink, Name: "lib", Linkname: "usr/lib", Mode: 0o777, ModTime: then}, dated(file("usr/lib/x", "x"))),
		tarOf(t, file("etc/.wh.old", ""), dated(file("opt/.wh.a", "")), dated(file("opt/a/new", "new")),
			file("srv/.wh..wh..opq", ""), dated(file("srv/here", "here")), dated(file("lib/y", "y")), file(".wh.two", "")),
		tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o700, ModTime: then.Add(time.Hour)},
			dated(file("deep/er/file", "deep")), file("srv/.wh.here", ""), dated(file("etc/kept", "KEPT"))),
	))))
	require.NoError(t, err)
	return list[0]
}

// tree is all that can be seen of an image's files.
func tree(t testing.TB, img *image.Image) (list []string) {
	t.Helper()
	fsys, err := img.FS(t.Context())
	require.NoError(t, err)
	defer fsys.Close()
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		i, err := fsys.Lstat(name)
		require.NoError(t, err)
		st := i.Sys().(*syscall.Stat_t)
		what := fmt.Sprintf("%s %v %d:%d", name, i.Mode(), st.Uid, st.Gid)
		if i.ModTime().Before(time.Now().Add(-time.Hour)) && !i.ModTime().Equal(time.Unix(0, 0)) {
			what += i.ModTime().UTC().Format(time.RFC3339Nano) // not of a directory that no layer lists
		}
		switch {
		case i.Mode().IsRegular():
			b, err := fsys.ReadFile(name)
			require.NoError(t, err)
			what += " " + string(b)
		case i.Mode()&fs.ModeSymlink != 0:
			to, err := fsys.ReadLink(name)
			require.NoError(t, err)
			what += " " + to
		}
		list = append(list, what)
		return nil
	}))
	return list
}

func TestSquash(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, p := range []ocispec.Platform{native, foreign} {
		t.Run(p.Architecture, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			img := motley(t, e, p)
			want := tree(t, img)
			for n, layers := range []int{1, 2, 3, 3} {
				squashed, err := img.SquashFrom(ctx, fmt.Sprintf("squashed:%d", n), n)
				require.NoError(t, err)
				list, err := squashed.Layers(ctx)
				require.NoError(t, err)
				require.Len(t, list, layers)
				require.Equal(t, want, tree(t, squashed), "from %d", n)
				require.Equal(t, img.Spec().Config, squashed.Spec().Config)
				require.Equal(t, p.Architecture, squashed.Spec().Architecture)
				old, err := img.Layers(ctx)
				require.NoError(t, err)
				for k := range min(n, layers-1) {
					require.Equal(t, old[k].Digest, list[k].Digest, "what is below stays")
				}
				made := 0
				for _, h := range squashed.Spec().History {
					if !h.EmptyLayer {
						made++
					}
				}
				require.Equal(t, layers, made)
				for c, err := range image.Diff(ctx, img, squashed) {
					require.NoError(t, err)
					t.Errorf("%v", c)
				}
			}
			for _, bad := range []int{-1, 4} {
				_, err := img.SquashFrom(ctx, "bad", bad)
				require.ErrorIs(t, err, ctor.ErrInvalid)
			}
			// What is removed is in one layer not even as a whiteout.
			one, err := image.Get(ctx, e, "squashed:0")
			require.NoError(t, err)
			list, err := one.Layers(ctx)
			require.NoError(t, err)
			require.False(t, slices.ContainsFunc(names(t, list[0]), func(s string) bool { return s == "etc/old" || s == "etc/.wh.old" }))
			// Elsewhere it is the same.
			again, err := motley(t, open(t), p).Squash(ctx, "squashed")
			require.NoError(t, err)
			require.Equal(t, one.Digest(), again.Digest())
		})
	}
}

// A squashed image runs.
func TestSquashRuns(t *testing.T) {
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	img, err := base.Derive(t.Context(), "more", nil, text("hello", "hello"), text("hello", "hello again"))
	require.NoError(t, err)
	img, err = img.Squash(t.Context(), "more")
	require.NoError(t, err)
	require.Equal(t, "hello again", output(t, img, "/bin/cat", "/hello"))
}

// What is cancelled, or finds the image gone, leaves nothing.
func TestSquashLeavesNothing(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := motley(t, e, native)
	tree(t, img) // unpacked
	unchanged(t, e, func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := img.Squash(ctx, "squashed")
		require.ErrorIs(t, err, context.Canceled)
		_, err = img.Squash(t.Context(), "No Name")
		require.ErrorIs(t, err, ctor.ErrInvalid)
		squashed, err := img.Squash(t.Context(), "squashed")
		require.NoError(t, err)
		require.NoError(t, squashed.Remove(t.Context()))
		_, err = squashed.Squash(t.Context(), "again")
		require.ErrorIs(t, err, ctor.ErrNotFound)
	})
}

func TestDiff(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	a, err := image.New(ctx, e, "a", ocispec.ImageConfig{}, text("same", "same"), text("etc/file", "one"), text("gone/x", "x"))
	require.NoError(t, err)
	b, err := image.New(ctx, e, "b", ocispec.ImageConfig{}, text("same", "same"), text("etc/file", "two"), text("new", "new"))
	require.NoError(t, err)
	var got []string
	for c, err := range image.Diff(ctx, a, b) {
		require.NoError(t, err)
		got = append(got, c.String())
	}
	require.Equal(t, []string{"C /etc", "C /etc/file", "D /gone", "A /new"}, got)
	for c, err := range image.Diff(ctx, a, b) {
		require.NoError(t, err)
		require.Equal(t, layer.Change{Path: "/etc", Kind: layer.Modified}, c)
		break
	}
	other, err := image.New(ctx, open(t), "a", ocispec.ImageConfig{})
	require.NoError(t, err)
	for _, err := range image.Diff(ctx, a, other) {
		require.ErrorIs(t, err, ctor.ErrInvalid)
	}
	unchanged(t, e, func() {
		for _, err := range image.Diff(ctx, a, b) {
			require.NoError(t, err)
		}
	})
}

// What package layer says of a stack of layers is what is found in the image.
func TestFilesOfLayers(t *testing.T) {
	t.Parallel()
	img := motley(t, open(t), native)
	fsys, err := img.FS(t.Context())
	require.NoError(t, err)
	defer fsys.Close()
	var want, got []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		i, err := fsys.Lstat(name)
		require.NoError(t, err)
		want = append(want, fmt.Sprintf("%v /%s", i.Mode(), name))
		return nil
	}))
	want[0] = want[0][:len(want[0])-1]
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	from := map[string]int{}
	for f, err := range layer.Files(t.Context(), layers...) {
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%v %s", f.Info.Mode(), f.Path))
		from[f.Path] = f.Layer
	}
	require.Equal(t, want, got)
	require.Equal(t, 0, from["/names"])
	require.Equal(t, 1, from["/usr/lib/y"])
	require.Equal(t, 2, from["/etc"])
	require.Equal(t, 2, from["/etc/kept"])
}

func TestRecompress(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	base, err := fixture.Busybox(t, e).Derive(ctx, "app", nil, text("hello", "hello"))
	require.NoError(t, err)
	sizes := map[string]int64{}
	for _, c := range []layer.Compression{{}, {Format: layer.Gzip, Level: 9}, {Format: layer.Zstd}, {Format: layer.Zstd, Level: 19}, {Format: layer.Plain}} {
		img, err := base.Recompress(ctx, "re", c)
		require.NoError(t, err)
		require.Equal(t, base.Spec(), img.Spec())
		layers, err := img.Layers(ctx)
		require.NoError(t, err)
		for _, l := range layers {
			require.Equal(t, c.MediaType(), l.MediaType)
			require.Equal(t, l.Digest == l.DiffID, c.Format == layer.Plain)
			sizes[c.String()] += l.Size
			read(t, l)
		}
		again, err := base.Recompress(ctx, "re2", c)
		require.NoError(t, err)
		require.Equal(t, img.Digest(), again.Digest())
		require.Equal(t, "hello", output(t, img, "/bin/cat", "/hello"), "%v", c)
	}
	require.Less(t, sizes["gzip:9"], sizes["none"])
	require.Less(t, sizes["zstd:19"], sizes["zstd"])
	for _, c := range []layer.Compression{{Level: 10}, {Level: -1}, {Format: "lzma"}, {Format: layer.Plain, Level: 1}, {Format: layer.Zstd, Level: 23}} {
		_, err := base.Recompress(ctx, "bad", c)
		require.ErrorIs(t, err, ctor.ErrInvalid)
	}
	// A new layer says by itself how it is to be stored.
	l := text("x", "x")
	l.Compression = layer.Compression{Format: layer.Zstd}
	img, err := base.Derive(ctx, "zstd", nil, l)
	require.NoError(t, err)
	layers, err := img.Layers(ctx)
	require.NoError(t, err)
	require.Equal(t, ocispec.MediaTypeImageLayerZstd, layers[len(layers)-1].MediaType)
	require.Equal(t, ocispec.MediaTypeImageLayerGzip, layers[0].MediaType)
}
