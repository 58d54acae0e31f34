package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestBadReferences(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	ctx := t.Context()
	img, err := image.New(ctx, e, "references", ocispec.ImageConfig{})
	require.NoError(t, err)
	for op, f := range map[string]func(ref string) error{
		"pull image":                      func(ref string) error { _, err := image.Pull(ctx, e, ref, nil); return err },
		"get image":                       func(ref string) error { _, err := image.Get(ctx, e, ref); return err },
		"new image":                       func(ref string) error { _, err := image.New(ctx, e, ref, ocispec.ImageConfig{}); return err },
		"tag image " + img.Ref():          func(ref string) error { _, err := img.Tag(ctx, ref); return err },
		"derive image " + img.Ref():       func(ref string) error { _, err := img.Derive(ctx, ref, nil); return err },
		"push image " + img.Ref() + " as": func(ref string) error { return img.Push(ctx, ref, nil) },
	} {
		for _, ref := range []string{"UPPER", "a b", "a:b:c", "a@sha256:0", "-", strings.Repeat("x", 1<<16), "a\x00b", "https://x/y", "a:b\nc", "a:b\n", "a\n:b"} {
			err := f(ref)
			require.ErrorIs(t, err, ctor.ErrInvalid, ref)
			require.ErrorContains(t, err, op+` "`)
			require.ErrorContains(t, err, "invalid format")
			require.Less(t, len(err.Error()), 1000)
		}
	}
}

// refusal is an image that is refused, and the reason.
type refusal struct {
	have raw
	says string
}

// refusals are images that are not what they must be, by what is wrong.
func refusals(t testing.TB) map[string]refusal {
	good := tarOf(t, file("x", "x"))
	one := func(edit func(*ocispec.Manifest, *ocispec.Image)) raw { return rawImage(t, native, edit, good) }
	schema1 := raw{manifest: newBlob("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`))}
	liar := one(nil)
	liar.manifest.data = bytes.Replace(liar.manifest.data, []byte("schemaVersion"), []byte("schemaVers1on"), 1)
	short, long := one(nil), one(nil)
	short.blobs[1].data = short.blobs[1].data[:20]
	long.blobs[1].data = append(bytes.Clone(long.blobs[1].data), "more"...)
	deep := one(nil)
	for range 1000 {
		deep = indexOf(t, []raw{deep}, nil)
	}
	confused := one(nil)
	confused.manifest = newBlob(ocispec.MediaTypeImageIndex, confused.manifest.data)
	return map[string]refusal{
		"schema 1":          {schema1, "manifest.v1+prettyjws"},
		"manifest's digest": {liar, "unexpected commit digest"},
		"short blob":        {short, "the answer's Content-Length is"},
		"long blob":         {long, "the answer's Content-Length is"},
		"10,000 layers": {one(func(m *ocispec.Manifest, c *ocispec.Image) {
			for range 9_999 {
				m.Layers = append(m.Layers, m.Layers[0])
				c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, c.RootFS.DiffIDs[0])
			}
		}), "lists 10001 parts, more than 1000"},
		"huge configuration": {one(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("x"), Size: 1 << 40}
		}), "has 1099511627776 bytes, not 0 to 8388608"},
		"negative size":     {one(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = -1 }), "has -1 bytes"},
		"huge layer":        {one(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = math.MaxInt64 }), "not 9223372036854775807"},
		"size that is none": {spelled(t, one(nil), `"size":`, `"size":1e99,"was":`), "cannot unmarshal number 1e99"},
		"digest with a path": {one(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Digest = "sha256:../../../../etc/passwd"
		}), "invalid checksum digest"},
		"unknown algorithm": {one(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Digest = "md5:d41d8cd98f00b204e9800998ecf8427e"
		}), "unsupported digest algorithm"},
		"more diff ids": {one(func(_ *ocispec.Manifest, c *ocispec.Image) {
			c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString("x"))
		}), "number of layers and diffIDs don't match: 1 != 2"},
		"no diff ids":          {one(func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil }), "number of layers and diffIDs don't match: 1 != 0"},
		"wrong diff id":        {one(func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[0] = digest.FromString("x") }), "wrong diff id"},
		"diff id that is none": {one(func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[0] = "../../x" }), "wrong diff id"},
		"layer is no tar": {rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString("x")}}}, nil,
			newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, bytes.Repeat([]byte("no tar"), 1000)))), "unpack layer"},
		"layer is no gzip": {rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString("x")}}}, nil,
			newBlob(ocispec.MediaTypeImageLayerGzip, bytes.Repeat([]byte("no gzip"), 1000))), "unpack layer"},
		"layer is cut off": {rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString("x")}}}, nil,
			newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, good)[:30])), "unpack layer"},
		"configuration is no JSON": {one(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Config = m.Layers[0]
			m.Config.MediaType = ocispec.MediaTypeImageConfig
		}), "invalid character"},
		"configuration is a layer": {one(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Config = m.Layers[0] }), "it is no image: its configuration is \"application/vnd.oci.image.layer.v1.tar+gzip\""},
		"artifact": {one(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
		}), "it is no image: a layer is \"application/vnd.cncf.helm"},
		"index that is a manifest": {confused, "expected index but found manifest"},
		"index in index in index":  {deep, "more than 4 indexes in one another"},
	}
}

// spelled is an image whose manifest has other words.
func spelled(t testing.TB, r raw, was, is string) raw {
	require.Contains(t, string(r.manifest.data), was)
	r.manifest = newBlob(r.manifest.MediaType, bytes.Replace(r.manifest.data, []byte(was), []byte(is), 1))
	return r
}

// Each is refused, with its reason, and leaves nothing.
func TestPullHostile(t *testing.T) {
	t.Parallel()
	e := open(t)
	for name, c := range refusals(t) {
		t.Run(name, func(t *testing.T) {
			srv, ref := serve(t, c.have)
			o := srv.Options()
			o.Retries = -1
			unchanged(t, e, func() {
				_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: o})
				require.ErrorIs(t, err, ctor.ErrInvalid)
				require.ErrorContains(t, err, `pull image "`+ref+`": `)
				require.ErrorContains(t, err, c.says)
			})
		})
	}
}

// What lists itself can only lie about its digest.
func TestPullListsItself(t *testing.T) {
	t.Parallel()
	e := open(t)
	self := digest.FromString("self")
	for name, list := range map[string]func(size int64) blob{
		"index": func(size int64) blob {
			return jsonBlob(t, ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
				Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageIndex, Digest: self, Size: size}}})
		},
		"manifest": func(size int64) blob {
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: self, Size: size}
			layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: self, Size: size}
			return jsonBlob(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
				Config: d, Layers: []ocispec.Descriptor{layer}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := list(list(100).Size)
			b.Digest = self
			srv, ref := serve(t, raw{manifest: b})
			unchanged(t, e, func() {
				_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
				require.ErrorIs(t, err, ctor.ErrInvalid)
				require.ErrorContains(t, err, "unexpected commit digest")
				require.ErrorIs(t, err, registry.ErrDigest)
			})
			require.LessOrEqual(t, len(srv.Requests()), 3)
		})
	}
}

func TestPullFaults(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, _, ref := published(t, containertest.Engine(t), nil)
	o := srv.Options()
	o.Retries = -1
	for name, c := range map[string]struct {
		fault registrytest.Middleware
		class error
		says  string
	}{
		"corrupted blob":     {registrytest.On(registrytest.Blobs, registrytest.Corrupt), ctor.ErrInvalid, "unexpected commit digest"},
		"corrupted manifest": {registrytest.On(func(r *http.Request) bool { return r.Method == http.MethodGet && registrytest.Manifests(r) }, registrytest.Corrupt), ctor.ErrInvalid, "unexpected commit digest"},
		"cut blob":           {registrytest.On(registrytest.Blobs, registrytest.Cut(-1, 100)), ctor.ErrUnavailable, "unexpected EOF"},
		"failing blob":       {registrytest.On(registrytest.Blobs, registrytest.Fail(-1, 500)), ctor.ErrUnavailable, "500 internal server error"},
		"missing blob":       {registrytest.On(registrytest.Blobs, registrytest.Fail(-1, 404)), ctor.ErrNotFound, "not found"},
		"failing manifest":   {registrytest.On(registrytest.Manifests, registrytest.Fail(-1, 503)), ctor.ErrUnavailable, "503 service unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(c.fault)
			defer srv.SetMiddleware(nil)
			unchanged(t, e, func() {
				_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: o})
				require.ErrorIs(t, err, c.class)
				require.ErrorContains(t, err, `pull image "`+ref+`": `)
				require.ErrorContains(t, err, c.says)
				dayLater(t, e)
			})
		})
	}
	unchanged(t, e, func() {
		_, err := image.Pull(t.Context(), e, srv.Host+"/team/none", &image.PullOptions{Registry: o})
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.ErrorContains(t, err, "not found")
		_, err = image.Pull(t.Context(), e, "127.0.0.1:1/x", &image.PullOptions{Registry: &registry.Options{Retries: -1}})
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		require.ErrorContains(t, err, "connection refused")
	})

	// A connection that breaks now and then is nobody's business.
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(2, 1000)))
	_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
}

// hanging is a registry that stops in the middle of an image, and says so.
func hanging(t *testing.T) (o *registry.Options, ref string, hangs chan struct{}) {
	t.Helper()
	srv, _, ref := published(t, containertest.Engine(t), nil)
	hangs = make(chan struct{}, 8)
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hangs <- struct{}{}
			registrytest.Hang(next).ServeHTTP(w, r)
		})
	}))
	return srv.Options(), ref, hangs
}

func TestPullCancelled(t *testing.T) {
	t.Parallel()
	e := open(t)
	o, ref, hangs := hanging(t)
	unchanged(t, e, func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { <-hangs; cancel() }()
		_, err := image.Pull(ctx, e, ref, &image.PullOptions{Registry: o})
		require.ErrorIs(t, err, context.Canceled)
	})
	unchanged(t, e, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := image.Pull(ctx, e, ref, &image.PullOptions{Registry: o})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestPullClosed(t *testing.T) {
	t.Parallel()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	o, ref, hangs := hanging(t)
	closed := make(chan error, 1)
	go func() { <-hangs; closed <- e.Close() }()
	_, err = image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: o})
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.NoError(t, <-closed)
	_, err = image.Pull(t.Context(), e, ref, nil)
	require.ErrorIs(t, err, ctor.ErrClosed)

	again, err := ctor.Open(t.Context(), ctor.Config{Root: e.Root()})
	require.NoError(t, err)
	for what, list := range remains(t, again) {
		require.Empty(t, list, what)
	}
	require.NoError(t, again.Close())
}

// Whatever a layer's names and links say, it stays inside.
func TestUnpackStaysInside(t *testing.T) {
	t.Parallel()
	e := open(t)
	outside := t.TempDir()
	up := strings.Repeat("../", 40)
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	for name, layers := range map[string][][]byte{
		"dots":           {tarOf(t, file(up+outside+"/a", "x"), file("a/../../../../../../../../../.."+outside+"/b", "x"))},
		"absolute":       {tarOf(t, file(outside+"/c", "x"))},
		"through a link": {tarOf(t, link("out", outside), file("out/d", "x"), link("rel", up+outside), file("rel/e", "x"))},
		"link below":     {tarOf(t, link("out", outside), link("esc", "/etc")), tarOf(t, file("out/f", "x"), file("esc/ctor-test-escaped", "x"))},
		"whiteout below": {tarOf(t, link("out", outside)), tarOf(t, file("out/.wh.secret", ""))},
		"opaque":         {tarOf(t, link("out", outside)), tarOf(t, file("out/.wh..wh..opq", ""))},
		"whiteout":       {tarOf(t, file(up+outside+"/.wh.secret", ""), file(".wh...", ""), file("x/.wh..", ""))},
		"link to itself": {tarOf(t, link("a", "a"), file("a/b", "x"))},
		"replaced":       {tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/"}, file("d/x", "x"), link("d", outside), file("d/y", "x"))},
		"hard link":      {tarOf(t, hard("stolen", up+secret))},
		"device":         {tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, tar.Header{Typeflag: tar.TypeFifo, Name: "p"})},
	} {
		t.Run(name, func(t *testing.T) {
			srv, ref := serve(t, rawImage(t, native, nil, layers...))
			var err error
			pull := func() {
				_, err = image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
			}
			if slices.Contains([]string{"hard link", "link to itself", "whiteout"}, name) {
				unchanged(t, e, pull)
				require.ErrorIs(t, err, ctor.ErrInvalid)
			} else {
				pull()
				require.NoError(t, err)
			}
			list, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Len(t, list, 1, "only what was there: %v", list)
			require.NoFileExists(t, "/etc/ctor-test-escaped")
			data, err := os.ReadFile(secret)
			require.NoError(t, err)
			require.Equal(t, "secret", string(data))
		})
	}
}

// A document of another size than its descriptor says is not read into memory.
func TestImportOtherSize(t *testing.T) {
	t.Parallel()
	e := open(t)
	large := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	config := large.blobs[0].Descriptor
	config.Size--
	small := rawImage(t, native, func(m *ocispec.Manifest, _ *ocispec.Image) { m.Config = config }, tarOf(t, file("x", "x")))
	small.blobs = large.blobs
	unchanged(t, e, func() {
		_, err := image.Import(t.Context(), e, stream(layoutOf(t, "x:1", small)))
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, fmt.Sprintf("has %d bytes, not %d", config.Size+1, config.Size))
	})
}
