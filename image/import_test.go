package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// compressions are the ways an archive may come.
var compressions = map[string]func(testing.TB, []byte) []byte{
	"plain": func(_ testing.TB, b []byte) []byte { return b },
	"gzip":  gzipped,
	"zstd":  zstandard,
}

func TestImportExport(t *testing.T) {
	t.Parallel()
	a := fixture.Busybox(t, containertest.Engine(t))
	b, err := a.Derive(t.Context(), "round-trip:2", nil, text("b.txt", "b\n"))
	require.NoError(t, err)
	archive := export(t, a, b)
	for name, compress := range compressions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			list, err := image.Import(t.Context(), e, stream(compress(t, archive)))
			require.NoError(t, err)
			require.Len(t, list, 2)
			for n, want := range []*image.Image{a, b} {
				require.Equal(t, want.Ref(), list[n].Ref())
				require.Equal(t, want.Digest(), list[n].Digest())
				require.Equal(t, want.Spec(), list[n].Spec())
				got, err := image.Get(t.Context(), e, want.Ref())
				require.NoError(t, err)
				require.Equal(t, want.Digest(), got.Digest())
			}
			require.Equal(t, "b\n", output(t, list[1], "cat", "/b.txt"))
			require.True(t, bytes.Equal(export(t, b), export(t, list[1])), "the same to the last byte")
			// A second time changes nothing.
			unchanged(t, e, func() {
				_, err = image.Import(t.Context(), e, stream(compress(t, archive)))
				require.NoError(t, err)
				collect(t, e)
			})
		})
	}
}

// dockerArchive is what `docker save` wrote before it wrote OCI layouts.
func dockerArchive(t testing.TB, tags []string, tars ...[]byte) []byte {
	t.Helper()
	config := ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers"}}
	type manifest struct {
		Config           string
		RepoTags, Layers []string
	}
	m := manifest{RepoTags: tags}
	var headers []tar.Header
	for _, b := range tars {
		d := digest.FromBytes(b)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d)
		m.Layers = append(m.Layers, d.Encoded()+"/layer.tar")
		headers = append(headers, file(d.Encoded()+"/layer.tar", string(b)))
	}
	c := jsonBlob(t, "", config)
	m.Config = c.Digest.Encoded() + ".json"
	list, err := json.Marshal([]manifest{m})
	require.NoError(t, err)
	return tarOf(t, append(headers, file(m.Config, string(c.data)), file("manifest.json", string(list)))...)
}

func TestImportDockerArchive(t *testing.T) {
	t.Parallel()
	bb := read(t, fixture.BusyboxLayer(t))
	archive := dockerArchive(t, []string{"saved:1", "example.com/saved:2"}, bb, tarOf(t, file("f.txt", "f\n")))
	for name, compress := range compressions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			list, err := image.Import(t.Context(), e, stream(compress(t, archive)))
			require.NoError(t, err)
			require.Len(t, list, 2)
			require.Equal(t, "docker.io/library/saved:1", list[0].Ref())
			require.Equal(t, "example.com/saved:2", list[1].Ref())
			require.Equal(t, list[0].Digest(), list[1].Digest())
			require.Equal(t, "f\n", output(t, list[0], "/bin/cat", "/f.txt"))

			// Docker's types become OCI's in what is made of it.
			more, err := list[0].Derive(t.Context(), "more", nil, text("g.txt", "g\n"))
			require.NoError(t, err)
			layers, err := more.Layers(t.Context())
			require.NoError(t, err)
			require.Equal(t, ocispec.MediaTypeImageLayer, layers[0].MediaType)
			require.Equal(t, ocispec.MediaTypeImageLayerGzip, layers[2].MediaType)
			require.Equal(t, "f\ng\n", output(t, more, "/bin/cat", "/f.txt", "/g.txt"))
		})
	}
}

func TestImportNames(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	r := rawImage(t, native, nil, tarOf(t, file("x", t.Name())))
	byDigest := "docker.io/library/import@" + r.manifest.Digest.String()
	for name, want := range map[string]string{
		"":                           byDigest,
		"names:v2":                   "docker.io/library/names:v2",
		"team/names":                 "docker.io/team/names:latest",
		"latest":                     byDigest, // a tag, as skopeo, umoci and crane write it
		"v1":                         byDigest,
		" example.com/names:v1\n":    "example.com/names:v1",
		"UPPER/../case":              byDigest,
		"names:v1\nnames:v3":         byDigest,
		"names\n:v1":                 byDigest,
		strings.Repeat("long/", 500): byDigest,
	} {
		list, err := image.Import(t.Context(), e, stream(layoutOf(t, name, r)))
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, want, list[0].Ref())
		require.Equal(t, r.manifest.Digest, list[0].Digest())
		got, err := image.Get(t.Context(), e, want)
		require.NoError(t, err)
		require.Equal(t, r.manifest.Digest, got.Digest())
	}
	list, err := image.Import(t.Context(), e, stream(dockerArchive(t, nil, tarOf(t, file("x", "docker")))))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(list[0].Ref(), "docker.io/library/import@sha256:"))
}

// An archive of several platforms, of another platform only, or of several of
// which one is not there.
func TestImportPlatforms(t *testing.T) {
	t.Parallel()
	e := open(t)
	both, here, there := multi(t)
	list, err := image.Import(t.Context(), e, stream(layoutOf(t, "both:latest", both)))
	require.NoError(t, err)
	require.Equal(t, here.manifest.Digest, list[0].Digest())
	require.Equal(t, both.manifest.Digest, list[0].Index())
	other, err := image.Pull(t.Context(), e, "both", &image.PullOptions{Policy: image.PullNever, Platform: "linux/" + foreign.Architecture})
	require.NoError(t, err)
	require.Equal(t, there.manifest.Digest, other.Digest())

	list, err = image.Import(t.Context(), e, stream(layoutOf(t, "there:latest", there)))
	require.NoError(t, err)
	require.Equal(t, there.manifest.Digest, list[0].Digest())
	require.Equal(t, foreign, list[0].Spec().Platform)

	// Manifests are there of both, content of one.
	e = open(t)
	part := both
	part.blobs = nil
	for _, b := range both.blobs {
		if !slices.ContainsFunc(here.blobs, func(h blob) bool { return h.Digest == b.Digest }) {
			part.blobs = append(part.blobs, b)
		}
	}
	list, err = image.Import(t.Context(), e, stream(layoutOf(t, "part:latest", part)))
	require.NoError(t, err)
	require.Equal(t, there.manifest.Digest, list[0].Digest())
	require.NoError(t, image.Export(t.Context(), discard{}, list...))
}

// An archive that is cut off, anywhere, is refused.
func TestImportCutOff(t *testing.T) {
	t.Parallel()
	e := open(t)
	r := rawImage(t, native, nil, tarOf(t, file("x", strings.Repeat("some content\n", 2000))), tarOf(t, file("y", "y")))
	for kind, archive := range map[string][]byte{
		"layout": layoutOf(t, "cut:latest", r),
		"docker": dockerArchive(t, []string{"cut"}, tarOf(t, file("x", strings.Repeat("some content\n", 2000)))),
	} {
		for name, compress := range compressions {
			data := compress(t, archive)
			size := len(data)
			if name == "plain" {
				size -= 1024 + 512 // zeros end a tar, and nobody misses them
			}
			points := []int{0, 1, 2, 3, 4, 9, 10, 11, 100, 511, 512, 513, size - 1, size - 2, size - 8, size - 9}
			step := size / 24
			if testing.Short() {
				step = size / 4
			}
			for n := step; n < size; n += step {
				points = append(points, n)
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				unchanged(t, e, func() {
					for _, n := range points {
						if n >= size {
							continue
						}
						_, err := image.Import(t.Context(), e, stream(data[:n]))
						require.ErrorIs(t, err, ctor.ErrInvalid, "cut at %d of %d", n, len(data))
						require.ErrorContains(t, err, "import images: ")
					}
				})
			})
		}
	}
}

func TestImportBad(t *testing.T) {
	t.Parallel()
	e := open(t)
	good := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	missing, swapped, config := good, good, good
	missing.blobs = good.blobs[:1]
	swapped.blobs = []blob{good.blobs[0], {good.blobs[1].Descriptor, []byte("something else")}}
	config.blobs = []blob{{good.blobs[0].Descriptor, append([]byte(" "), good.blobs[0].data...)}, good.blobs[1]}
	chart := rawImage(t, native, func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Config.MediaType, m.Config.Digest, m.Config.Size = "application/vnd.cncf.helm.config.v1+json", good.blobs[0].Digest, good.blobs[0].Size
	})
	diffs := rawImage(t, native, func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil }, tarOf(t, file("x", "x")))
	deep := good
	for range 1000 {
		deep = indexOf(t, []raw{deep}, nil)
	}
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"empty":            {nil, "unrecognized image format"},
		"garbage":          {bytes.Repeat([]byte("garbage"), 1000), "invalid tar header"},
		"gzipped garbage":  {gzipped(t, bytes.Repeat([]byte("garbage"), 1000)), "invalid tar header"},
		"a tar":            {tarOf(t, file("README", "hello")), "unrecognized image format"},
		"no images":        {layoutOf(t, ""), "the archive holds no image"},
		"docker, no image": {tarOf(t, file("manifest.json", "[]")), "the archive holds no image"},
		"docker, nothing":  {tarOf(t, file("manifest.json", `[{"Config":"x","Layers":["y"]}]`)), `image config "x" not found`},
		"version 2":        {tarOf(t, file("oci-layout", `{"imageLayoutVersion":"2.0.0"}`), file("index.json", "{}")), "unsupported OCI version 2.0.0"},
		"no index":         {tarOf(t, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)), "missing index.json"},
		"index is no JSON": {tarOf(t, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", "{")), "unexpected end of JSON input"},
		"missing layer":    {layoutOf(t, "bad:latest", missing), "its part " + good.blobs[1].Digest.String() + " is not in the store"},
		"swapped layer":    {layoutOf(t, "bad:latest", swapped), "its part " + good.blobs[1].Digest.String() + " is not in the store"},
		"swapped config":   {layoutOf(t, "bad:latest", config), good.blobs[0].Digest.String() + ": not found"},
		"one of two":       {layoutOf(t, "bad:latest", good, missing, diffs), "the manifest lists 1 layers, the configuration 0"},
		"a chart":          {layoutOf(t, "bad:latest", chart, good), "it is no image: its configuration is \"application/vnd.cncf.helm.config.v1+json\""},
		"no diff ids":      {layoutOf(t, "bad:latest", diffs), "the manifest lists 1 layers, the configuration 0"},
		"deep":             {layoutOf(t, "bad:latest", deep), "more than 4 indexes in one another"},
		"large config":     {dockerLarge(t), "configuration of 8389637 bytes, more than 8388608"},
		"many images":      {layoutOf(t, "bad:latest", slices.Repeat([]raw{{manifest: good.manifest}}, 1001)...), "the archive lists 1001 images, more than 1000"},
		"trailing garbage": {append(gzipped(t, layoutOf(t, "bad:latest", good)), "garbage"...), "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t, e, func() {
				_, err := image.Import(t.Context(), e, stream(c.data))
				require.ErrorIs(t, err, ctor.ErrInvalid)
				require.ErrorContains(t, err, "import images: ")
				require.ErrorContains(t, err, c.says)
			})
		})
	}
}

// dockerLarge is an archive with more configuration than memory should have.
func dockerLarge(t testing.TB) []byte {
	config := `{"x":"` + strings.Repeat("x", 8<<20) + strings.Repeat(" ", 1021) + `"}`
	return tarOf(t, file("c.json", config), file("manifest.json", `[{"Config":"c.json","Layers":[]}]`))
}

// A name that is there is not lost to an archive that is refused.
func TestImportKeepsNames(t *testing.T) {
	t.Parallel()
	e := open(t)
	img, err := image.New(t.Context(), e, "kept", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)
	bad := rawImage(t, native, func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil }, tarOf(t, file("x", "x")))
	_, err = image.Import(t.Context(), e, stream(layoutOf(t, "kept:latest", bad)))
	require.ErrorIs(t, err, ctor.ErrInvalid)
	got, err := image.Get(t.Context(), e, "kept")
	require.NoError(t, err)
	require.Equal(t, img.Digest(), got.Digest())
}

func TestImportReaders(t *testing.T) {
	t.Parallel()
	e := open(t)
	archive := layoutOf(t, "readers:latest", rawImage(t, native, nil, tarOf(t, file("x", "x"))))
	for _, r := range []io.Reader{
		iotest.OneByteReader(bytes.NewReader(archive)), iotest.DataErrReader(bytes.NewReader(archive)), iotest.HalfReader(bytes.NewReader(archive)),
	} {
		_, err := image.Import(t.Context(), e, r)
		require.NoError(t, err)
	}
	broken := errors.New("broken pipe dream")
	unchanged(t, e, func() {
		_, err := image.Import(t.Context(), e, io.MultiReader(bytes.NewReader(archive[:2000]), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
		require.NotErrorIs(t, err, ctor.ErrInvalid)
	})

	// A reader that never returns holds nobody up.
	r, w := io.Pipe()
	defer w.Close()
	unchanged(t, e, func() {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = w.Write(archive[:2000]); cancel() }()
		_, err := image.Import(ctx, e, r)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestExportBad(t *testing.T) {
	t.Parallel()
	e := open(t)
	require.ErrorIs(t, image.Export(t.Context(), discard{}), ctor.ErrInvalid)
	img, err := image.New(t.Context(), e, "a", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)
	err = image.Export(t.Context(), discard{}, img, fixture.Busybox(t, containertest.Engine(t)))
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "export images: the images are of different engines")

	full := errors.New("disk is full")
	require.ErrorIs(t, image.Export(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }), img), full)
	ctx, cancel := context.WithCancel(t.Context())
	err = image.Export(ctx, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }), img)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, img.Remove(t.Context()))
	var b bytes.Buffer
	err = image.Export(t.Context(), &b, img)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, "docker.io/library/a:latest: its part sha256:")
	require.Zero(t, b.Len(), "nothing is written of what is not whole")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
