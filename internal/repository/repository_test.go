package repository_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/repository"
	"github.com/ctorhq/ctor/registry"
)

// served is an engine and a client of the registry that it is.
type served struct {
	*testing.T
	e   *ctor.Engine
	url string
	*registry.Registry
}

func serve(t *testing.T, handler func(*engine.Engine) http.Handler) served {
	t.Helper()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	srv := httptest.NewServer(handler(engine.Of(e)))
	t.Cleanup(srv.Close)
	r, err := registry.New(strings.TrimPrefix(srv.URL, "http://"), nil)
	require.NoError(t, err)
	return served{t, e, srv.URL, r}
}

// names are those of the engine's images.
func (s served) names() (names []string) {
	s.Helper()
	list, err := s.e.Containerd().ImageService().List(s.e.Context(s.Context()))
	require.NoError(s, err)
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

// collect removes what nothing keeps.
func (s served) collect() {
	s.Helper()
	m := s.e.Containerd().LeasesService()
	l, err := m.Create(s.e.Context(s.Context()), leases.WithRandomID())
	require.NoError(s, err)
	require.NoError(s, m.Delete(s.e.Context(s.Context()), l, leases.SynchronousDelete))
}

// leases counts what keeps something.
func (s served) leases() int {
	s.Helper()
	list, err := s.e.Containerd().LeasesService().List(s.e.Context(s.Context()))
	require.NoError(s, err)
	return len(list)
}

// ingests counts the files of uploads.
func (s served) ingests() int {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.e.Root(), "containerd/*content/ingest/*"))
	require.NoError(s, err)
	return len(files)
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func (s served) blob(repo, content string) ocispec.Descriptor {
	s.Helper()
	d := describe("application/octet-stream", []byte(content))
	require.NoError(s, s.Push(s.Context(), repo, d, strings.NewReader(content)))
	return d
}

// manifest is one of blobs, that is not pushed.
func manifest(t testing.TB, subject *ocispec.Descriptor, blobs ...ocispec.Descriptor) (ocispec.Descriptor, []byte) {
	t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blobs[0], Layers: append([]ocispec.Descriptor{}, blobs[1:]...), Subject: subject}
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return describe(m.MediaType, b), b
}

// put pushes a manifest under a reference.
func (s served) put(ref string, d ocispec.Descriptor, b []byte) error {
	return s.PushManifest(s.Context(), ref, d, bytes.NewReader(b))
}

func (s served) get(path string) int {
	s.Helper()
	resp, err := http.Get(s.url + path)
	require.NoError(s, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(s, err)
	return resp.StatusCode
}

// TestWaiting: a blob is kept from the collector until its manifest comes, and
// not any longer.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	before := s.leases()
	config, layer := s.blob("app", "{}"), s.blob("app", "layer")
	require.Equal(t, before+2, s.leases())
	s.collect()
	d, b := manifest(t, nil, config, layer)
	require.NoError(t, s.put("app:v1", d, b))
	require.Equal(t, before, s.leases())
	s.collect()
	require.Equal(t, 200, s.get("/v2/app/blobs/"+layer.Digest.String()))
	require.NoError(t, s.Delete(t.Context(), "app@"+d.Digest.String()))
	require.Equal(t, 404, s.get("/v2/app/blobs/"+layer.Digest.String()))
	_, err := s.e.Containerd().ContentStore().Info(s.e.Context(t.Context()), layer.Digest)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

func TestNoManifest(t *testing.T) {
	t.Parallel()
	s := serve(t, func(e *engine.Engine) http.Handler { return repository.Bounded(e, time.Millisecond, 1) })
	before := s.leases()
	d := s.blob("app", "never listed")
	require.Eventually(t, func() bool { return s.leases() == before }, 10*time.Second, time.Millisecond)
	s.collect()
	_, err := s.e.Containerd().ContentStore().Info(s.e.Context(t.Context()), d.Digest)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

// TestTooMany: a client that never sends a manifest is stopped.
func TestTooMany(t *testing.T) {
	t.Parallel()
	s := serve(t, func(e *engine.Engine) http.Handler { return repository.Bounded(e, time.Hour, 2) })
	config := s.blob("app", "{}")
	s.blob("app", "{}")
	s.blob("app", "b")
	before := s.leases()
	resp, err := http.Post(s.url+"/v2/app/blobs/uploads/?digest="+digest.FromString("c").String(), "", strings.NewReader("c"))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Equal(t, before, s.leases())
	d, b := manifest(t, nil, config)
	require.NoError(t, s.put("app:v1", d, b))
	s.blob("app", "c")
}

// TestApart: what one repository has, another hasn't.
func TestApart(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	ctx := t.Context()
	secret := s.blob("private", "secret")
	d, b := manifest(t, nil, secret)
	require.NoError(t, s.put("private:v1", d, b))
	require.Equal(t, 404, s.get("/v2/other/blobs/"+secret.Digest.String()))
	require.Equal(t, 404, s.get("/v2/other/manifests/"+d.Digest.String()))
	require.ErrorIs(t, s.put("other:v1", d, b), errdefs.ErrNotFound, "a manifest of another's blobs")
	index, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
	require.NoError(t, err)
	require.ErrorIs(t, s.put("other:v1", describe(ocispec.MediaTypeImageIndex, index), index), errdefs.ErrNotFound)
	require.Equal(t, []string{"docker.io/library/private:v1"}, s.names())

	// Nor does one repository change another that has the same.
	require.NoError(t, s.Mount(ctx, "copy", "private", secret, nil))
	require.NoError(t, s.put("copy:v1", d, b))
	sd, sb := manifest(t, &d, s.blob("copy", "{}"))
	require.NoError(t, s.put("copy@"+sd.Digest.String(), sd, sb))
	require.Equal(t, 1, s.referrers("copy", d))
	require.Equal(t, 0, s.referrers("private", d))
	require.Equal(t, 404, s.get("/v2/private/manifests/"+sd.Digest.String()))
	require.NoError(t, s.Delete(ctx, "copy@"+d.Digest.String()))
	require.Equal(t, 200, s.get("/v2/private/manifests/v1"))
	require.Equal(t, 200, s.get("/v2/private/blobs/"+secret.Digest.String()))
	s.collect()
	require.Equal(t, 404, s.get("/v2/copy/manifests/"+sd.Digest.String()), "it went with what it was about")
	_, err = s.e.Containerd().ContentStore().Info(s.e.Context(ctx), sd.Digest)
	require.ErrorIs(t, err, errdefs.ErrNotFound)

	// What is part of an image is not to be had out of it.
	req, err := http.NewRequest(http.MethodDelete, s.url+"/v2/private/blobs/"+secret.Digest.String(), nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.Equal(t, 200, s.get("/v2/private/blobs/"+secret.Digest.String()))
}

func (s served) referrers(repo string, d ocispec.Descriptor) (n int) {
	s.Helper()
	for _, err := range s.Referrers(s.Context(), repo+"@"+d.Digest.String(), "") {
		require.NoError(s, err)
		n++
	}
	return n
}

// TestStanding: which names manifests have that were pushed without.
func TestStanding(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	ctx := t.Context()
	config := s.blob("app", "{}")
	d, b := manifest(t, nil, config)
	full := "docker.io/library/app"
	at := "@" + d.Digest.String()
	require.NoError(t, s.put("app"+at, d, b))
	require.Equal(t, []string{full + at}, s.names())
	require.NoError(t, s.put("app:v1", d, b))
	require.Equal(t, []string{full + ":v1"}, s.names(), "the tag's is enough")
	require.NoError(t, s.put("app"+at, d, b))
	require.NoError(t, s.put("app:v2", d, b))

	other, ob := manifest(t, nil, config, config)
	require.NoError(t, s.put("app:v1", other, ob))
	require.ElementsMatch(t, []string{full + ":v1", full + ":v2"}, clean(s.names()), "v2 still leads there")
	require.NoError(t, s.Delete(ctx, "app:v2"))
	require.Contains(t, s.names(), full+at, "a tag takes nothing with it")
	require.NoError(t, s.Delete(ctx, "app"+at))
	require.Equal(t, []string{full + ":v1"}, s.names())

	// What an index lists lives with it.
	require.NoError(t, s.put("app"+at, d, b))
	index, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
	require.NoError(t, err)
	id := describe(ocispec.MediaTypeImageIndex, index)
	require.NoError(t, s.put("app:all", id, index))
	require.ElementsMatch(t, []string{full + ":v1", full + ":all"}, s.names())
	require.NoError(t, s.put("app:v3", d, b))
	require.NoError(t, s.Delete(ctx, "app:v3"))
	require.ElementsMatch(t, []string{full + ":v1", full + ":all"}, s.names())
	require.NoError(t, s.put("app:all", d, b))
	require.NoError(t, s.put("app:all", id, index))
	s.collect()
	require.ElementsMatch(t, []string{full + ":v1", full + ":all"}, s.names())
	require.Equal(t, 200, s.get("/v2/app/manifests/"+d.Digest.String()))
	require.Error(t, s.Delete(ctx, "app"+at), "the index lists it")
	require.Equal(t, 200, s.get("/v2/app/manifests/"+d.Digest.String()))
	require.NoError(t, s.Delete(ctx, "app@"+id.Digest.String()))
	require.Equal(t, 404, s.get("/v2/app/manifests/"+d.Digest.String()))
}

// clean leaves out names with digests.
func clean(names []string) (tags []string) {
	for _, n := range names {
		if !strings.Contains(n, "@") {
			tags = append(tags, n)
		}
	}
	return tags
}

// TestSubjectLater: what is about a manifest may come before it.
func TestSubjectLater(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	config := s.blob("app", "{}")
	d, b := manifest(t, nil, config)
	sd, sb := manifest(t, &d, config)
	require.NoError(t, s.put("app@"+sd.Digest.String(), sd, sb))
	require.Equal(t, 1, s.referrers("app", d))
	require.NoError(t, s.put("app:v1", d, b))
	require.Equal(t, 1, s.referrers("app", d))
	require.Equal(t, []string{"docker.io/library/app:v1"}, s.names())
	s.collect()
	require.Equal(t, 200, s.get("/v2/app/manifests/"+sd.Digest.String()))
	require.NoError(t, s.Delete(t.Context(), "app@"+sd.Digest.String()))
	require.Equal(t, 0, s.referrers("app", d))
	require.Equal(t, 404, s.get("/v2/app/manifests/"+sd.Digest.String()))
	require.Equal(t, 200, s.get("/v2/app/manifests/v1"))
}

func TestLies(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	config := s.blob("app", "{}")
	config.Size = 3
	d, b := manifest(t, nil, config)
	err := s.put("app:v1", d, b)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	require.ErrorContains(t, err, "has 2 bytes, and not 3")
	require.Equal(t, 404, s.get("/v2/"+strings.Repeat("a", 64)+"/tags/list"), "a name that Docker takes for a digest")
	require.Equal(t, 404, s.get("/v2/app/manifests/v1"))
	require.Empty(t, s.names())
}

// TestClose: an engine that closes ends the requests that are under way, and
// leaves nothing of their uploads.
func TestClose(t *testing.T) {
	t.Parallel()
	s := serve(t, repository.Handler)
	s.blob("app", "waits")
	resp, err := http.Post(s.url+"/v2/app/blobs/uploads/", "", nil)
	require.NoError(t, err)
	resp.Body.Close()
	at := s.url + resp.Header.Get("Location")
	body, feed := io.Pipe()
	defer feed.Close()
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPatch, at, body)
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultTransport.RoundTrip(req); err == nil {
				resp.Body.Close()
				err = fmt.Errorf("%s", resp.Status)
			}
		}
		done <- err
	}()
	_, err = feed.Write(bytes.Repeat([]byte("x"), 1<<20))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.ingests() == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.e.Close())
	feed.Close() // net/http waits for it
	require.Error(t, <-done)
	require.Zero(t, s.ingests())
	require.Equal(t, 503, s.get("/v2/"))

	// Nothing is left for the next.
	e, err := ctor.Open(t.Context(), ctor.Config{Root: s.e.Root()})
	require.NoError(t, err)
	list, err := e.Containerd().LeasesService().List(e.Context(t.Context()))
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, e.Close())
	blobs, err := filepath.Glob(filepath.Join(s.e.Root(), "containerd/*content/blobs/sha256/*"))
	require.NoError(t, err)
	require.Empty(t, blobs)
	_, err = os.Stat(s.e.Root())
	require.NoError(t, err)
}
