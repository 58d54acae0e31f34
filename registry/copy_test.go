package registry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// multi publishes an index of one image for each platform.
func multi(t *testing.T, r *registry.Registry, ref string, platforms ...string) (ocispec.Descriptor, []ocispec.Descriptor) {
	t.Helper()
	repo, _, _ := strings.Cut(ref, ":")
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, p := range platforms {
		config, layer := []byte(`{"architecture":"`+p+`","os":"linux"}`), []byte("the layer for "+p)
		c, l := describe(ocispec.MediaTypeImageConfig, config), describe(ocispec.MediaTypeImageLayer, layer)
		require.NoError(t, r.Push(t.Context(), repo, c, bytes.NewReader(config)))
		require.NoError(t, r.Push(t.Context(), repo, l, bytes.NewReader(layer)))
		d, b := manifest(t, c, l)
		require.NoError(t, r.PushManifest(t.Context(), repo+"@"+d.Digest.String(), d, bytes.NewReader(b)))
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: p}
		index.Manifests = append(index.Manifests, d)
	}
	b, err := json.Marshal(index)
	require.NoError(t, err)
	d := describe(index.MediaType, b)
	require.NoError(t, r.PushManifest(t.Context(), ref, d, bytes.NewReader(b)))
	return d, index.Manifests
}

func TestCopy(t *testing.T) {
	from := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	to := registrytest.NewServer(t, &registrytest.Options{Username: "bob", Password: "hunter2", TLS: true})
	source, target := open(t, from), open(t, to)
	index, images := multi(t, source, "app:v1", "amd64", "arm64", "s390x")
	sbom, err := source.Attach(t.Context(), "app@"+images[0].Digest.String(), "application/spdx+json", map[string][]byte{"sbom.json": []byte("{}")})
	require.NoError(t, err)
	sig, err := source.Attach(t.Context(), "app@"+sbom.Digest.String(), "application/x.signature", nil)
	require.NoError(t, err)
	o := &registry.CopyOptions{From: from.Options(), To: to.Options(), Referrers: true}

	d, err := registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/team/copy:v2", o)
	require.NoError(t, err)
	require.Equal(t, index.Digest, d)
	got, err := target.Resolve(t.Context(), "team/copy:v2")
	require.NoError(t, err)
	require.Equal(t, index, got)
	for _, m := range images {
		m.Platform = nil
		require.Equal(t, fetch(t, source, "app", m), fetch(t, target, "team/copy", m))
	}
	about := all(t, target.Referrers(t.Context(), "team/copy@"+images[0].Digest.String(), ""))
	require.Equal(t, sbom.Digest, about[0].Digest)
	files, err := target.Files(t.Context(), "team/copy", about[0])
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"sbom.json": []byte("{}")}, files)
	about = all(t, target.Referrers(t.Context(), "team/copy@"+sbom.Digest.String(), ""))
	require.Equal(t, sig.Digest, about[0].Digest)
	// What is there is not sent again; in one registry nothing is.
	to.ResetRequests()
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/team/copy:v3", o)
	require.NoError(t, err)
	require.NotContains(t, methods(to), http.MethodPost)
	to.ResetRequests()
	_, err = registry.Copy(t.Context(), to.Host+"/team/copy:v3", to.Host+"/other:v3", &registry.CopyOptions{From: to.Options(), To: to.Options()})
	require.NoError(t, err)
	for _, r := range to.Requests() {
		require.NotContains(t, r.String(), "PUT /v2/other/blobs/")
	}
}

func methods(srv *registrytest.Server) (list []string) {
	for _, r := range srv.Requests() {
		list = append(list, r.Method)
	}
	return list
}

func TestCopyPlatforms(t *testing.T) {
	from, to := registrytest.NewServer(t, nil), registrytest.NewServer(t, nil)
	_, images := multi(t, open(t, from), "app:v1", "amd64", "arm64", "s390x")
	target := open(t, to)
	d, err := registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app:one", &registry.CopyOptions{Platforms: []string{"linux/arm64"}})
	require.NoError(t, err)
	require.Equal(t, images[1].Digest, d)
	d, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app:two", &registry.CopyOptions{Platforms: []string{"linux/s390x", "linux/arm64"}})
	require.NoError(t, err)
	got, err := target.Resolve(t.Context(), "app:two")
	require.NoError(t, err)
	require.Equal(t, d, got.Digest)
	var index ocispec.Index
	require.NoError(t, json.Unmarshal(fetch(t, target, "app", got), &index))
	require.Equal(t, []ocispec.Descriptor{images[2], images[1]}, index.Manifests)
	ok, err := target.Exists(t.Context(), "app", ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: images[0].Digest})
	require.NoError(t, err)
	require.False(t, ok)
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app:none", &registry.CopyOptions{Platforms: []string{"windows/arm64"}})
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app@"+images[0].Digest.String(), nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", "UPPER", nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}

// TestCopyGoesOn: a break on either side costs the rest of a blob, and what is
// not what its digest says is not there afterwards.
func TestCopyGoesOn(t *testing.T) {
	from, to := registrytest.NewServer(t, nil), registrytest.NewServer(t, nil)
	content := noise(3 << 20)
	layer := describe(ocispec.MediaTypeImageLayer, content)
	config := []byte("{}")
	c := describe(ocispec.MediaTypeImageConfig, config)
	source := open(t, from)
	require.NoError(t, source.Push(t.Context(), "app", layer, bytes.NewReader(content)))
	require.NoError(t, source.Push(t.Context(), "app", c, bytes.NewReader(config)))
	d, b := manifest(t, c, layer)
	require.NoError(t, source.PushManifest(t.Context(), "app:v1", d, bytes.NewReader(b)))

	from.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(2, 1<<20)))
	to.SetMiddleware(times(1, http.MethodPut, "/blobs/", hangUp))
	got, err := registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app:v1", nil)
	require.NoError(t, err)
	require.Equal(t, d.Digest, got)
	require.True(t, bytes.Equal(content, fetch(t, open(t, to), "app", layer)))

	from.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/bad:v1", &registry.CopyOptions{To: &registry.Options{Retries: never}})
	require.Error(t, err)
	ok, err := open(t, to).Exists(t.Context(), "bad", layer)
	require.NoError(t, err)
	require.False(t, ok)
	from.SetMiddleware(registrytest.On(registrytest.Manifests, registrytest.Corrupt))
	_, err = registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/bad:v1", nil)
	require.ErrorIs(t, err, registry.ErrDigest)
	_, err = open(t, to).Resolve(t.Context(), "bad:v1")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

// TestCopyEnds: an index that lists itself can't be made, but one that a registry
// makes deeper with each answer can.
func TestCopyEnds(t *testing.T) {
	from, to := registrytest.NewServer(t, nil), registrytest.NewServer(t, nil)
	all := map[string][]byte{}
	below := describe(ocispec.MediaTypeImageIndex, nil)
	for range 1000 {
		b, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{below}})
		require.NoError(t, err)
		below = describe(ocispec.MediaTypeImageIndex, b)
		all[below.Digest.String()] = b
	}
	from.SetMiddleware(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, ok := all[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
			if !ok {
				b = all[below.Digest.String()]
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = w.Write(b)
		})
	})
	_, err := registry.Copy(t.Context(), from.Host+"/app:v1", to.Host+"/app:v1", nil)
	require.ErrorIs(t, err, errdefs.ErrOutOfRange)
	require.Empty(t, to.Requests())
}

// withoutReferrers makes a registry one of before the referrers API.
func withoutReferrers(status int) registrytest.Middleware {
	fails := registrytest.On(
		func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/referrers/") }, registrytest.Fail(-1, status))
	return func(next http.Handler) http.Handler {
		return fails(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(mute{w}, r)
		}))
	}
}

// mute says nothing of a manifest's subject.
type mute struct{ http.ResponseWriter }

func (w mute) WriteHeader(status int) {
	w.Header().Del("OCI-Subject")
	w.ResponseWriter.WriteHeader(status)
}

func TestAttach(t *testing.T) {
	for name, m := range map[string]registrytest.Middleware{
		"API": nil,
		"tag": withoutReferrers(http.StatusNotFound),
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, &registrytest.Options{Middleware: m})
			r := open(t, srv)
			image, _ := publish(t, r, "app:v1")
			files := map[string][]byte{"sbom.json": []byte(`{"spdx":1}`), "empty": {}, "../up": []byte("x")}
			d, err := r.Attach(t.Context(), "app:v1", "application/spdx+json", files)
			require.NoError(t, err)
			again, err := r.Attach(t.Context(), "app@"+image.Digest.String(), "application/spdx+json", files)
			require.NoError(t, err)
			require.Equal(t, d, again)
			_, err = r.Attach(t.Context(), "app:v1", "application/x.signature", map[string][]byte{"sig": []byte("s")})
			require.NoError(t, err)

			list := all(t, r.Referrers(t.Context(), "app:v1", "application/spdx+json"))
			require.Len(t, list, 1)
			require.Equal(t, d.Digest, list[0].Digest)
			require.Len(t, all(t, r.Referrers(t.Context(), "app:v1", "")), 2)
			got, err := r.Files(t.Context(), "app", list[0])
			require.NoError(t, err)
			require.Equal(t, files, got)

			srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
			_, err = r.Files(t.Context(), "app", list[0])
			require.ErrorIs(t, err, registry.ErrDigest)
		})
	}
	r := open(t, registrytest.NewServer(t, nil))
	_, err := r.Attach(t.Context(), "none:v1", "a/b", nil)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	publish(t, r, "app:v1")
	_, err = r.Attach(t.Context(), "app:v1", "", nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, err = r.Attach(t.Context(), "app:v1", "a/b", map[string][]byte{"": nil})
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}

func TestSearch(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	for _, ref := range []string{"team/nginx:v1", "alpine:v1", "nginx:v1"} {
		publish(t, r, ref)
	}
	require.Equal(t, []registry.SearchResult{{Name: "nginx"}, {Name: "team/nginx"}}, all(t, r.Search(t.Context(), "NGINX")))
	srv.SetMiddleware(registrytest.Fail(-1, http.StatusUnauthorized))
	_, err := last(r.Search(t.Context(), "x"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
}

// TestSearchOfHub: by pages, without credentials, and nothing that would harm a
// terminal.
func TestSearchOfHub(t *testing.T) {
	pages := 0
	hub, err := registry.New("docker.io", &registry.Options{
		Credentials: as(registry.Credential{Username: "alice", Password: "s3cret"}),
		Retries:     never,
		Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			require.Equal(t, "https://index.docker.io/v1/search", req.URL.Scheme+"://"+req.URL.Host+req.URL.Path)
			require.Equal(t, "ngi nx", req.URL.Query().Get("q"))
			require.Empty(t, req.Header.Get("Authorization"))
			pages++
			body := `{"num_pages":2,"results":[{"name":"nginx","description":"web\n \u001b[2Jserver","star_count":7,"is_official":true},{"name":"../x"}]}`
			if req.URL.Query().Get("page") == "2" {
				body = `{"num_pages":2,"results":[{"name":"team/nginx"}]}`
			}
			rec := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
			rec.Body = readCloser(body)
			return rec, nil
		}),
	})
	require.NoError(t, err)
	require.Equal(t, []registry.SearchResult{
		{Name: "nginx", Description: "web ?[2Jserver", Stars: 7, Official: true}, {Name: "team/nginx"},
	}, all(t, hub.Search(t.Context(), "ngi nx")))
	require.Equal(t, 2, pages)
	for range hub.Search(t.Context(), "ngi nx") {
		break
	}
	require.Equal(t, 3, pages)
}

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
