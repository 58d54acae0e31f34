package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

var (
	native  = ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	foreign = ocispec.Platform{OS: "linux", Architecture: map[bool]string{true: "s390x", false: "arm64"}[runtime.GOARCH == "arm64"]}
)

// open opens an engine of the test's own, for those that count.
func open(t testing.TB) *ctor.Engine {
	t.Helper()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// remains is all that there is of e, with the content.
func remains(t testing.TB, e *ctor.Engine) fixture.Remains {
	t.Helper()
	r := fixture.Count(t, e)
	r["content"] = nil
	err := e.Containerd().ContentStore().Walk(e.Context(t.Context()), func(i content.Info) error {
		r["content"] = append(r["content"], i.Digest.String())
		return nil
	})
	require.NoError(t, err)
	// The metadata may forget an ingest that the store still has, and takes up.
	r["ingest files"], err = filepath.Glob(filepath.Join(e.Root(), "containerd/*content/ingest/*"))
	require.NoError(t, err)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, e.Root()+"/") {
			r["mounts"] = append(r["mounts"], line)
		}
	}
	return r
}

// unchanged runs f and fails the test if anything stays of what f did.
func unchanged(t testing.TB, e *ctor.Engine, f func()) {
	t.Helper()
	collect(t, e)
	before := remains(t, e)
	f()
	before.Same(t, func() fixture.Remains { return remains(t, e) })
}

// collect removes what nothing needs any more, which else happens a little later.
func collect(t testing.TB, e *ctor.Engine) {
	t.Helper()
	m := e.Containerd().LeasesService()
	l, err := m.Create(e.Context(t.Context()), leases.WithRandomID())
	require.NoError(t, err)
	require.NoError(t, m.Delete(e.Context(t.Context()), l, leases.SynchronousDelete))
}

// dayLater lets go of what pulls that were cut off have brought, as the end of a
// day does.
func dayLater(t testing.TB, e *ctor.Engine) {
	t.Helper()
	ctx, m := e.Context(t.Context()), e.Containerd().LeasesService()
	list, err := m.List(ctx, `labels."io.ctor.pull"`)
	require.NoError(t, err)
	for _, l := range list {
		require.NoError(t, m.Delete(ctx, l, leases.SynchronousDelete))
	}
}

// output runs a container of img and gives what it prints.
func output(t testing.TB, img *image.Image, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := containertest.Run(t, img, container.Config{Args: args, Stdout: &out, Stderr: &out})
	require.NoError(t, c.Wait(t.Context()), "output: %s", &out)
	return out.String()
}

// tool finds a program that reads what we write with somebody else's eyes.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is missing: apt-get install %s", name, pkg)
	return path
}

// run runs a program and gives its standard output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s", cmd, &stderr)
	return string(out)
}

// blob is something that a registry or an archive has.
type blob struct {
	ocispec.Descriptor
	data []byte
}

func newBlob(mediaType string, data []byte) blob {
	return blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

func jsonBlob(t testing.TB, mediaType string, v any) blob {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return newBlob(mediaType, data)
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		data := []byte(h.PAXRecords["data"])
		h.PAXRecords = nil
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// file is an entry of tarOf.
func file(name, data string) tar.Header {
	return tar.Header{Name: name, PAXRecords: map[string]string{"data": data}}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstandard(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// raw is an image made by hand, that may be wrong in any way.
type raw struct {
	blobs    []blob // config first
	manifest blob
}

// rawImage makes an image of tars. edit, if not nil, spoils it.
func rawImage(t testing.TB, p ocispec.Platform, edit func(*ocispec.Manifest, *ocispec.Image), tars ...[]byte) raw {
	t.Helper()
	var layers []blob
	config := ocispec.Image{Platform: p, Config: ocispec.ImageConfig{Cmd: []string{"/x"}}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, b := range tars {
		layers = append(layers, newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, b)))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(b))
	}
	return rawOf(t, config, edit, layers...)
}

func rawOf(t testing.TB, config ocispec.Image, edit func(*ocispec.Manifest, *ocispec.Image), layers ...blob) raw {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	if edit != nil {
		edit(&m, &config)
	}
	c := jsonBlob(t, ocispec.MediaTypeImageConfig, config)
	if m.Config.Digest == "" {
		m.Config = c.Descriptor
	}
	return raw{blobs: append([]blob{c}, layers...), manifest: jsonBlob(t, m.MediaType, m)}
}

// indexOf makes an index of images for the platforms given.
func indexOf(t testing.TB, images []raw, ps ...*ocispec.Platform) raw {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var all []blob
	for n, i := range images {
		d := i.manifest.Descriptor
		d.Platform = ps[n]
		index.Manifests = append(index.Manifests, d)
		all = append(append(all, i.blobs...), i.manifest)
	}
	return raw{blobs: all, manifest: jsonBlob(t, ocispec.MediaTypeImageIndex, index)}
}

// serve starts a registry that has what a real one would refuse, as app:v1,
// and gives the name. faults come before what it has.
func serve(t testing.TB, r raw, faults ...registrytest.Middleware) (*registrytest.Server, string) {
	t.Helper()
	paths := map[string]blob{"/v2/app/manifests/v1": r.manifest}
	for _, b := range append(slices.Clone(r.blobs), r.manifest) {
		paths["/v2/app/blobs/"+b.Digest.String()] = b
		paths["/v2/app/manifests/"+b.Digest.String()] = b
	}
	srv := registrytest.NewServer(t, &registrytest.Options{Middleware: func(next http.Handler) http.Handler {
		var has http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, ok := paths[r.URL.Path]
			if !ok {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", b.MediaType)
			w.Header().Set("Docker-Content-Digest", b.Digest.String())
			w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
			if r.Method == http.MethodGet {
				_, _ = w.Write(b.data)
			}
		})
		for _, fault := range faults {
			has = fault(has)
		}
		return has
	}})
	return srv, srv.Host + "/app:v1"
}

// layoutOf is an archive: an OCI layout that has r under a name.
func layoutOf(t testing.TB, name string, rs ...raw) []byte {
	t.Helper()
	headers := []tar.Header{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	seen := map[digest.Digest]bool{}
	for _, r := range rs {
		d := r.manifest.Descriptor
		if name != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		}
		index.Manifests = append(index.Manifests, d)
		for _, b := range append(slices.Clone(r.blobs), r.manifest) {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				headers = append(headers, file("blobs/sha256/"+b.Digest.Encoded(), string(b.data)))
			}
		}
	}
	return tarOf(t, append(headers, file("index.json", string(jsonBlob(t, "", index).data)))...)
}

// export is the archive of images.
func export(t testing.TB, imgs ...*image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, image.Export(t.Context(), &b, imgs...))
	return b.Bytes()
}

// stream is a reader and nothing else, as a pipe or a response's body.
func stream(data []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(data)} }

// text is a layer of one file.
func text(name, content string) layer.Layer {
	return layer.FromFS(fstest.MapFS{name: {Data: []byte(content), Mode: 0o644}}, &layer.Options{CreatedBy: "add " + name})
}

// read gives a layer's tar, which reading verifies.
func read(t testing.TB, l layer.Layer) []byte {
	t.Helper()
	rc, err := l.Open(t.Context())
	require.NoError(t, err)
	defer rc.Close()
	b, err := io.ReadAll(rc)
	require.NoError(t, err)
	return b
}

// discard is where archives go that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
