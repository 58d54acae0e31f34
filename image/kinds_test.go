package image_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// TestPlatformOfIndex: the configuration may say nothing of the platform, or
// what the machine was that wrote it; the index is believed, and by a later
// program too.
func TestPlatformOfIndex(t *testing.T) {
	t.Parallel()
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	for name, tt := range map[string]struct {
		index, config ocispec.Platform
		pull          string
	}{
		"none":            {native, ocispec.Platform{}, ""},
		"another machine": {native, ocispec.Platform{OS: "linux", Architecture: other}, ""},
		"no variant":      {ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, ocispec.Platform{OS: "linux", Architecture: "arm"}, "linux/arm/v6"},
		"index says none": {ocispec.Platform{}, native, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			r := rawImage(t, tt.config, nil, tarOf(t, file("x", "x")))
			_, ref := serve(t, indexOf(t, []raw{r}, &tt.index))
			img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Platform: tt.pull})
			require.NoError(t, err)
			want := tt.index
			if want.OS == "" {
				want = tt.config
			}
			require.Equal(t, want, img.Spec().Platform)
			got, err := image.Get(t.Context(), e, ref)
			require.NoError(t, err)
			require.Equal(t, want, got.Spec().Platform)

			_, err = img.New(t.Context(), container.Config{})
			if tt.pull == "" {
				require.ErrorContains(t, err, `"/x"`) // for this machine, but there is no such program
			} else {
				require.ErrorContains(t, err, "the image is for linux/arm/v6")
			}
		})
	}
	_, ref := serve(t, indexOf(t, []raw{rawImage(t, native, nil)}, &ocispec.Platform{OS: "linux", Architecture: other}))
	_, err := image.Pull(t.Context(), containertest.Engine(t), ref, nil)
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// TestOctetStream: Docker gave configurations no type of their own once.
func TestOctetStream(t *testing.T) {
	t.Parallel()
	r := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	old := rawOf(t, ocispec.Image{}, func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.MediaType, m.Config = images.MediaTypeDockerSchema2Manifest, r.blobs[0].Descriptor
		m.Config.MediaType = "application/octet-stream"
	}, r.blobs[1:]...)
	old.blobs[0] = r.blobs[0]
	srv, ref := serve(t, old)
	e := open(t)
	img, err := image.Pull(t.Context(), e, ref, nil)
	require.NoError(t, err)
	_, err = img.FS(t.Context())
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), srv.Host+"/copy:v1", nil))
	require.NoError(t, img.Remove(t.Context()))
	list, err := image.Import(t.Context(), e, stream(layoutOf(t, "x.test/old:v1", old)))
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = list[0].FS(t.Context())
	require.NoError(t, err)
}

// TestMisnamedLayer: whether a layer is packed its first bytes tell, not its type.
func TestMisnamedLayer(t *testing.T) {
	t.Parallel()
	b := tarOf(t, file("x", "misnamed"))
	for name, tt := range map[string]struct {
		mediaType string
		data      []byte
	}{
		"gzip called tar":  {ocispec.MediaTypeImageLayer, gzipped(t, b)},
		"zstd called tar":  {ocispec.MediaTypeImageLayer, zstandard(t, b)},
		"zstd of Docker's": {images.MediaTypeDockerSchema2Layer, zstandard(t, b)},
		"tar called gzip":  {ocispec.MediaTypeImageLayerGzip, b},
		"zstd called gzip": {ocispec.MediaTypeImageLayerGzip, zstandard(t, b)},
	} {
		t.Run(name, func(t *testing.T) {
			r := rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(b)}}},
				nil, newBlob(tt.mediaType, tt.data))
			_, ref := serve(t, r)
			img, err := image.Pull(t.Context(), open(t), ref, nil)
			require.NoError(t, err)
			fsys, err := img.FS(t.Context())
			require.NoError(t, err)
			defer fsys.Close()
			got, err := fs.ReadFile(fsys, "x")
			require.NoError(t, err)
			require.Equal(t, "misnamed", string(got))
		})
	}
}

// TestForeignLayer: a layer that may not be distributed is got from where the
// manifest says, and not sent to another registry unasked.
func TestForeignLayer(t *testing.T) {
	t.Parallel()
	made := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	var asked http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		if r.URL.Path == "/layer" {
			_, _ = w.Write(made.blobs[1].data)
			return
		}
		http.Redirect(w, r, "/layer", http.StatusFound)
	}))
	t.Cleanup(elsewhere.Close)
	foreign := func(urls ...string) raw {
		r := rawImage(t, native, func(m *ocispec.Manifest, _ *ocispec.Image) {
			//lint:ignore SA1019 images have it
			m.Layers[0].MediaType = ocispec.MediaTypeImageLayerNonDistributableGzip
			m.Layers[0].URLs = urls
		}, tarOf(t, file("x", "x")))
		r.blobs = r.blobs[:1]
		return r
	}
	user := strings.Replace(elsewhere.URL, "://", "://alice:s3cret@", 1)
	_, ref := serve(t, foreign("https://169.254.169.254/layer", "file:///etc/passwd", user+"/first"))
	_, err := image.Pull(t.Context(), open(t), ref, nil)
	require.NoError(t, err)
	require.Empty(t, asked.Get("Authorization"))

	_, ref = serve(t, foreign(elsewhere.URL+"/layer"))
	img, err := image.Pull(t.Context(), open(t), ref, nil)
	require.NoError(t, err)
	to := registrytest.NewServer(t, nil)
	require.NoError(t, img.Push(t.Context(), to.Host+"/app:v1", &image.PushOptions{Foreign: true}))
	require.Equal(t, 2, count(to, http.MethodPost, ""), "layer and configuration")
	require.NoError(t, img.Push(t.Context(), to.Host+"/other:v1", nil))
	require.Equal(t, 3, count(to, http.MethodPost, ""), "the configuration")
	_, err = image.Pull(t.Context(), open(t), to.Host+"/other:v1", nil)
	require.NoError(t, err)

	for url, says := range map[string]string{
		"http://10.0.0.1/layer":    "10.0.0.1 is at 10.0.0.1, in a network that the registry is not in",
		"file:///etc/passwd":       `scheme "file" is not https`,
		elsewhere.URL + "\x00":     "the layer's URL",
		"http://127.0.0.1:1/layer": "refused",
	} {
		_, ref := serve(t, foreign(url))
		_, err := image.Pull(t.Context(), open(t), ref, nil)
		require.ErrorContains(t, err, says)
		require.ErrorIs(t, err, ctor.ErrNotFound, "of the registry")
	}
}

// TestTLSOnLoopback: the registry of a test may have TLS.
func TestTLSOnLoopback(t *testing.T) {
	t.Parallel()
	srv := registrytest.NewServer(t, &registrytest.Options{TLS: true})
	img, err := image.New(t.Context(), open(t), srv.Host+"/app:v1", ocispec.ImageConfig{Cmd: []string{"/x"}}, text("one", "1"))
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: srv.Options()}))
	got, err := image.Pull(t.Context(), open(t), srv.Host+"/app:v1", &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	require.Equal(t, img.Digest(), got.Digest())
}

// TestPushGoesOn: the layers of an image can be read again.
func TestPushGoesOn(t *testing.T) {
	t.Parallel()
	e := open(t)
	img, err := image.New(t.Context(), e, "app", ocispec.ImageConfig{}, text("one", "1"))
	require.NoError(t, err)
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		srv := registrytest.NewServer(t, nil)
		srv.SetMiddleware(registrytest.On(func(r *http.Request) bool { return r.Method == method }, registrytest.Fail(1, http.StatusBadGateway)))
		require.NoError(t, img.Push(t.Context(), srv.Host+"/app:v1", nil))
		_, err := image.Pull(t.Context(), open(t), srv.Host+"/app:v1", nil)
		require.NoError(t, err)
	}
}
