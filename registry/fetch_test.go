package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// big pushes a blob of several reads.
func big(t *testing.T, srv *registrytest.Server) (ocispec.Descriptor, []byte) {
	t.Helper()
	content := noise(5<<20 + 17)
	d := describe(ocispec.MediaTypeImageLayer, content)
	require.NoError(t, open(t, srv).Push(t.Context(), "app", d, bytes.NewReader(content)))
	return d, content
}

func TestFetchSeeks(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d, content := big(t, srv)
	rc, err := open(t, srv).Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	defer rc.Close()
	s, ok := rc.(io.ReadSeeker)
	require.True(t, ok)
	for _, at := range []int64{1 << 20, 0, d.Size - 5, d.Size, 17} {
		n, err := s.Seek(at, io.SeekStart)
		require.NoError(t, err)
		require.Equal(t, at, n)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content[at:], got))
	}
	_, err = s.Seek(-1, io.SeekStart)
	require.Error(t, err)
	require.NoError(t, rc.Close())
	require.NoError(t, rc.Close())
	_, err = rc.Read(make([]byte, 1))
	require.Error(t, err)
}

// TestFetchGoesOn: a broken connection costs nothing but the rest of it.
func TestFetchGoesOn(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d, content := big(t, srv)
	r, err := registry.New(srv.Host, &registry.Options{Retries: 2})
	require.NoError(t, err)

	// Three breaks are more than two, but each time there was progress.
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(3, 3<<19)))
	srv.ResetRequests()
	require.True(t, bytes.Equal(content, fetch(t, r, "app", d)))
	require.Len(t, srv.Requests(), 4)

	// Without progress there is an end to it.
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(-1, 10)))
	srv.ResetRequests()
	rc, err := r.Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	defer rc.Close()
	got, err := io.ReadAll(rc)
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.EqualError(t, err, fmt.Sprintf("registry %s: fetch app@%s: unexpected EOF", srv.Host, d.Digest))
	require.Equal(t, content[:30], got)
	require.Len(t, srv.Requests(), 3)
	_, again := rc.Read(make([]byte, 1))
	require.Equal(t, err, again)
	_, again = rc.(io.Seeker).Seek(0, io.SeekStart)
	require.Equal(t, err, again)
}

func TestFetchGoesOnUntilRefused(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d, _ := big(t, srv)
	r := open(t, srv)
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(1, 1000)))
	rc, err := r.Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	defer rc.Close()
	n, err := io.Copy(io.Discard, rc)
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.EqualValues(t, 1000, n)

	r, err = registry.New(srv.Host, nil)
	require.NoError(t, err)
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(1, 1000)))
	rc2, err := r.Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	defer rc2.Close()
	_, err = io.CopyN(io.Discard, rc2, 1000)
	require.NoError(t, err)
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Fail(-1, http.StatusForbidden)))
	_, err = io.Copy(io.Discard, rc2)
	require.ErrorContains(t, err, "403")
}

func TestFetchCancelled(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d, _ := big(t, srv)
	ctx, cancel := context.WithCancel(t.Context())
	rc, err := open(t, srv).Fetch(ctx, "app", d)
	require.NoError(t, err)
	defer rc.Close()
	_, err = io.CopyN(io.Discard, rc, 100)
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, rc)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFetchIsNotVerified(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	_, layer := publish(t, r, "app:v1")
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
	got := fetch(t, r, "app", layer)
	require.Len(t, got, int(layer.Size))
	require.NotEqual(t, layer.Digest, digest.FromBytes(got))
}

// TestFetchIsBounded: a registry that doesn't say how long the answer is can
// send one byte too many, and no more.
func TestFetchIsBounded(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, layer := publish(t, r, "app:v1")
	srv.SetMiddleware(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", image.MediaType)
			if strings.Contains(req.URL.RawQuery, "ranges") || strings.Contains(req.URL.Path, "/blobs/") {
				w.Header().Set("Accept-Ranges", "bytes")
			}
			for range 1 << 10 {
				_, _ = w.Write(make([]byte, 1<<10))
				_ = http.NewResponseController(w).Flush()
			}
		})
	})
	for _, d := range []ocispec.Descriptor{image, layer} {
		require.Len(t, fetch(t, r, "app", d), int(d.Size)+1)
	}

	// One that says it is refused at once.
	srv.SetMiddleware(answer(http.StatusOK, image.MediaType, "too short"))
	for _, d := range []ocispec.Descriptor{image, layer} {
		_, err := r.Fetch(t.Context(), "app", d)
		require.ErrorContains(t, err, "Content-Length")
	}
}

func TestResolveHostileAnswers(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	sum := digest.FromString("x").String()
	other := digest.FromString("y").String()
	for name, tt := range map[string]struct {
		mediaType, size, digest string
		ref                     string
		class                   error
		want                    string
	}{
		"too large":     {ocispec.MediaTypeImageManifest, strconv.Itoa(5 << 20), sum, "app:v1", errdefs.ErrOutOfRange, "manifest of 5242880 bytes is larger than 4194304"},
		"a page":        {"text/html", "10", sum, "app:v1", errdefs.ErrNotImplemented, `"text/html" is no media type of a manifest`},
		"schema 1":      {"application/vnd.docker.distribution.manifest.v1+prettyjws", "10", sum, "app:v1", errdefs.ErrNotImplemented, "no media type"},
		"no digest":     {ocispec.MediaTypeImageManifest, "10", "../../etc", "app:v1", nil, "Docker-Content-Digest"},
		"other digest":  {ocispec.MediaTypeImageManifest, "10", other, "app@" + sum, nil, "digest mismatch"},
		"no media type": {"", "10", sum, "app:v1", nil, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					w.Header()["Content-Type"] = []string{tt.mediaType}
					w.Header().Set("Content-Length", tt.size)
					w.Header().Set("Docker-Content-Digest", tt.digest)
				})
			})
			d, err := r.Resolve(t.Context(), tt.ref)
			require.ErrorContains(t, err, tt.want)
			if tt.class != nil {
				require.ErrorIs(t, err, tt.class)
			}
			require.Zero(t, d)
		})
	}
}

// TestResolveWithoutHead: some registries say only with the body what it is.
func TestResolveWithoutHead(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, _ := publish(t, r, "app:v1")
	content := fetch(t, r, "app", image)
	for name, head := range map[string]func(http.ResponseWriter){
		"no digest": func(w http.ResponseWriter) { w.Header().Set("Content-Length", strconv.Itoa(len(content))) },
		"no method": func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) },
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					w.Header().Set("Content-Type", image.MediaType)
					if req.Method == http.MethodHead {
						head(w)
						return
					}
					_, _ = w.Write(content)
				})
			})
			got, err := r.Resolve(t.Context(), "app:v1")
			require.NoError(t, err)
			require.Equal(t, image, got)
		})
	}
}

// TestFetchGoesOnWithoutRanges: a registry may not say that it knows ranges, or
// say so and not know them, or refuse them.
func TestFetchGoesOnWithoutRanges(t *testing.T) {
	content := noise(1<<20 + 5)
	d := describe(ocispec.MediaTypeImageLayer, content)
	for name, head := range map[string]func(w http.ResponseWriter, at int) (from int){
		"not announced": func(w http.ResponseWriter, at int) int {
			if at > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(content)-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
			}
			return at
		},
		"all of it": func(w http.ResponseWriter, _ int) int { return 0 },
		"refused": func(w http.ResponseWriter, at int) int {
			if at > 0 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return len(content)
			}
			return 0
		},
		"no length": func(w http.ResponseWriter, _ int) int { _ = http.NewResponseController(w).Flush(); return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, nil)
			sent := 0
			srv.SetMiddleware(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					at := 0
					_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
					w.Header().Set("Accept-Ranges", "bytes")
					at = head(w, at)
					if sent += 100_000; at < sent && sent < len(content) { // each time a little more
						_, _ = w.Write(content[at:sent])
						panic(http.ErrAbortHandler)
					}
					_, _ = w.Write(content[at:])
				})
			})
			r, err := registry.New(srv.Host, &registry.Options{Retries: 1})
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, fetch(t, r, "app", d)))
		})
	}
}

// TestFetchGoesOnElsewhere: a range that is not the one that was asked for is
// not taken for it.
func TestFetchGoesOnElsewhere(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d, _ := big(t, srv)
	srv.SetMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=7-")
			}
			registrytest.Cut(1, 1<<20)(next).ServeHTTP(w, r)
		})
	})
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	rc, err := r.Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	require.ErrorContains(t, err, "Content-Range")
}

// TestResolveByTheBody: length, digest and type may be missing or of no use.
func TestResolveByTheBody(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, _ := publish(t, r, "app:v1")
	content := fetch(t, r, "app", image)
	for name, head := range map[string]func(w http.ResponseWriter, method string){
		"no length": func(w http.ResponseWriter, method string) {
			w.Header().Set("Content-Type", image.MediaType)
			w.Header().Set("Docker-Content-Digest", image.Digest.String())
			_ = http.NewResponseController(w).Flush()
		},
		"no type": func(w http.ResponseWriter, _ string) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Docker-Content-Digest", image.Digest.String())
		},
		"type of a file": func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		},
		"nothing": func(w http.ResponseWriter, _ string) { _ = http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					head(w, req.Method)
					if req.Method == http.MethodGet {
						_, _ = w.Write(content)
					}
				})
			})
			for _, ref := range []string{"app:v1", "app@" + image.Digest.String()} {
				got, err := r.Resolve(t.Context(), ref)
				require.NoError(t, err)
				require.Equal(t, image, got)
			}
			require.Equal(t, content, fetch(t, r, "app", image))
			_, err := r.Resolve(t.Context(), "app@"+digest.FromString("other").String())
			require.ErrorIs(t, err, registry.ErrDigest)
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
		})
	}
	for name, body := range map[string]string{
		"two in one":  `{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`,
		"other type":  `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{},"layers":[]}`,
		"neither":     `{"schemaVersion":2}`,
		"schema 1":    `{"schemaVersion":1,"config":{},"layers":[]}`,
		"no manifest": `<html>`,
	} {
		srv.SetMiddleware(answer(http.StatusOK, "application/json", body))
		_, err := r.Resolve(t.Context(), "app:v1")
		require.ErrorIs(t, err, errdefs.ErrNotImplemented, name)
	}
}
