package registry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// never is what tests of failing registries use, so that they don't wait.
const never = -1

// open returns a client of srv that does not retry.
func open(t testing.TB, srv *registrytest.Server) *registry.Registry {
	t.Helper()
	o := srv.Options()
	o.Retries = never
	r, err := registry.New(srv.Host, o)
	require.NoError(t, err)
	return r
}

func describe(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// noise returns n bytes that are the same for every run and have no pattern.
func noise(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

// manifest returns an image manifest of config and layers.
func manifest(t testing.TB, config ocispec.Descriptor, layers ...ocispec.Descriptor) (ocispec.Descriptor, []byte) {
	t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers}
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return describe(m.MediaType, b), b
}

// publish pushes a small image and returns its manifest's and layer's
// descriptors.
func publish(t testing.TB, r *registry.Registry, ref string) (image, layer ocispec.Descriptor) {
	t.Helper()
	ctx := t.Context()
	repo, _, _ := strings.Cut(ref, ":")
	config, blob := []byte(`{"architecture":"amd64","os":"linux"}`), []byte("the layer of "+repo)
	c := describe(ocispec.MediaTypeImageConfig, config)
	layer = describe(ocispec.MediaTypeImageLayer, blob)
	require.NoError(t, r.Push(ctx, repo, c, bytes.NewReader(config)))
	require.NoError(t, r.Push(ctx, repo, layer, bytes.NewReader(blob)))
	image, b := manifest(t, c, layer)
	require.NoError(t, r.PushManifest(ctx, ref, image, bytes.NewReader(b)))
	return image, layer
}

func fetch(t testing.TB, r *registry.Registry, repo string, d ocispec.Descriptor) []byte {
	t.Helper()
	rc, err := r.Fetch(t.Context(), repo, d)
	require.NoError(t, err)
	b, err := io.ReadAll(rc)
	require.NoError(t, err)
	require.NoError(t, rc.Close())
	return b
}

// all drains a listing.
func all[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var got []T
	for v, err := range seq {
		require.NoError(t, err)
		got = append(got, v)
	}
	return got
}

// last returns what a listing yields at its end, and how much it did before.
func last[T any](seq iter.Seq2[T, error]) (n int, err error) {
	for _, e := range seq {
		if err = e; err == nil {
			n++
		}
	}
	return n, err
}

func TestRoundTrip(t *testing.T) {
	for name, o := range map[string]*registrytest.Options{
		"memory": nil,
		"files":  {Root: t.TempDir() + "/new"},
		"TLS":    {TLS: true},
		"auth":   {Username: "alice", Password: "s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, o)
			r, err := registry.New(srv.Host, srv.Options())
			require.NoError(t, err)
			require.Equal(t, srv.Host, r.Host())
			ctx := t.Context()
			require.NoError(t, r.Ping(ctx))

			image, layer := publish(t, r, "team/app:v1")
			for _, ref := range []string{
				"team/app:v1",
				"team/app@" + image.Digest.String(),
				"team/app:gone@" + image.Digest.String(),
				srv.Host + "/team/app:v1",
			} {
				got, err := r.Resolve(ctx, ref)
				require.NoError(t, err, ref)
				require.Equal(t, image, got)
			}
			require.Equal(t, image.Digest, digest.FromBytes(fetch(t, r, "team/app", image)))
			require.Equal(t, "the layer of team/app", string(fetch(t, r, "team/app", layer)))

			for _, d := range []ocispec.Descriptor{image, layer} {
				ok, err := r.Exists(ctx, "team/app", d)
				require.NoError(t, err)
				require.True(t, ok)
				d.Digest = digest.FromString("nothing")
				ok, err = r.Exists(ctx, "team/app", d)
				require.NoError(t, err)
				require.False(t, ok)
			}

			require.NoError(t, r.Tag(ctx, "team/app:latest", image))
			got, err := r.Resolve(ctx, "team/app")
			require.NoError(t, err)
			require.Equal(t, image, got)

			publish(t, r, "other:v2")
			require.Equal(t, []string{"latest", "v1"}, all(t, r.Tags(ctx, "team/app")))
			require.Equal(t, []string{"other", "team/app"}, all(t, r.Repositories(ctx)))
		})
	}
}

func TestRootIsKept(t *testing.T) {
	o := &registrytest.Options{Root: t.TempDir()}
	first := registrytest.NewServer(t, o)
	image, _ := publish(t, open(t, first), "app:v1")
	first.Close()
	got, err := open(t, registrytest.NewServer(t, o)).Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)
}

func TestPushManifestIsOneRequest(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, _ := publish(t, r, "app:v1")
	content := fetch(t, r, "app", image)
	srv.ResetRequests()
	require.NoError(t, r.PushManifest(t.Context(), "app:v2", image, bytes.NewReader(content)))
	require.Equal(t, []registrytest.Request{{Method: "PUT", Path: "/v2/app/manifests/v2"}}, srv.Requests())

	srv.ResetRequests()
	byDigest := "/v2/app/manifests/" + image.Digest.String()
	require.NoError(t, r.PushManifest(t.Context(), "app@"+image.Digest.String(), image, bytes.NewReader(content)))
	require.NoError(t, r.Push(t.Context(), "app", image, bytes.NewReader(content)))
	require.Equal(t, []registrytest.Request{{Method: "PUT", Path: byDigest}, {Method: "PUT", Path: byDigest}}, srv.Requests())
}

func TestMount(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	_, layer := publish(t, r, "base:v1")
	srv.ResetRequests()
	require.NoError(t, r.Mount(t.Context(), "app", "base", layer, nil))
	require.Equal(t, []registrytest.Request{{Method: "POST", Path: "/v2/app/blobs/uploads/"}}, srv.Requests())
	require.Equal(t, "the layer of base", string(fetch(t, r, "app", layer)))

	// What the source doesn't have is uploaded.
	other := []byte("other")
	d := describe(ocispec.MediaTypeImageLayer, other)
	require.NoError(t, r.Mount(t.Context(), "app", "base", d, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(other)), nil
	}))
	require.Equal(t, "other", string(fetch(t, r, "app", d)))
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestPushBodies(t *testing.T) {
	r := open(t, registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"}))
	ctx := t.Context()
	content := noise(3 << 20)
	d := describe(ocispec.MediaTypeImageLayer, content)

	body := &closer{Reader: bytes.NewReader(content)}
	require.NoError(t, r.Push(ctx, "app", d, body))
	require.False(t, body.closed)
	require.True(t, bytes.Equal(content, fetch(t, r, "app", d)))

	empty := describe(ocispec.MediaTypeImageLayer, nil)
	require.NoError(t, r.Push(ctx, "app", empty, strings.NewReader("")))
	require.Empty(t, fetch(t, r, "app", empty))

	for name, body := range map[string]io.Reader{
		"short":       strings.NewReader("short"),
		"short pipe":  io.MultiReader(strings.NewReader("short")),
		"not as said": bytes.NewReader(noise(3<<20 + 1)[1:]),
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, r.Push(ctx, "wrong", d, body))
			ok, err := r.Exists(ctx, "wrong", d)
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
	// The registry has all it wants by then, but the caller is told.
	long := io.MultiReader(bytes.NewReader(content), strings.NewReader("!"))
	require.ErrorContains(t, r.Push(ctx, "wrong", d, long), "Body length")
}

// TestRefusedBeforeAsking: what can't be right never becomes part of a URL.
func TestRefusedBeforeAsking(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	ctx := t.Context()
	blob := describe(ocispec.MediaTypeImageLayer, []byte("x"))
	image := describe(ocispec.MediaTypeImageManifest, []byte("{}"))
	with := func(d ocispec.Descriptor, edit func(*ocispec.Descriptor)) ocispec.Descriptor { edit(&d); return d }

	for name, call := range map[string]func() error{
		"reference":     func() error { _, err := r.Resolve(ctx, "App:v1"); return err },
		"another host":  func() error { _, err := r.Resolve(ctx, "ghcr.io/app:v1"); return err },
		"repository":    func() error { _, err := r.Fetch(ctx, "../x", blob); return err },
		"tag in name":   func() error { _, err := r.Fetch(ctx, "app:v1", blob); return err },
		"query in name": func() error { _, err := last(r.Tags(ctx, "app?n=1")); return err },
		"no digest":     func() error { return r.Push(ctx, "app", ocispec.Descriptor{}, nil) },
		"digest as path": func() error {
			return r.Push(ctx, "app", with(blob, func(d *ocispec.Descriptor) { d.Digest = "../.." }), nil)
		},
		"negative size": func() error {
			_, err := r.Fetch(ctx, "app", with(blob, func(d *ocispec.Descriptor) { d.Size = -1 }))
			return err
		},
		"mount from":       func() error { return r.Mount(ctx, "app", "x&y=z", blob, nil) },
		"tag with digest":  func() error { return r.Tag(ctx, "app@"+image.Digest.String(), image) },
		"tag as reference": func() error { return r.Tag(ctx, "app:-", image) },
		"other digest":     func() error { return r.PushManifest(ctx, "app@"+blob.Digest.String(), image, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			err := call()
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.True(t, strings.HasPrefix(err.Error(), "registry "+srv.Host+": "), err.Error())
		})
	}
	require.ErrorIs(t, r.PushManifest(ctx, "app:v1", blob, nil), errdefs.ErrNotImplemented)
	_, err := r.Fetch(ctx, "app", with(image, func(d *ocispec.Descriptor) { d.Size = 5 << 20 }))
	require.ErrorIs(t, err, errdefs.ErrOutOfRange)
	require.Empty(t, srv.Requests())
}

func TestNewRefuses(t *testing.T) {
	for _, host := range []string{"", "registry", "https://", "ftp://a.b", "a.b/c", "user:pw@a.b"} {
		_, err := registry.New(host, nil)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, host)
		_, err = registry.New("docker.io", &registry.Options{Mirrors: []string{host}})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, host)
	}
}

// TestDockerHub looks at what would go to the Hub, without going there.
func TestDockerHub(t *testing.T) {
	var urls []string
	o := &registry.Options{
		Retries: never,
		Credentials: func(_ context.Context, host string) (registry.Credential, error) {
			require.Equal(t, "docker.io", host)
			return registry.Credential{Username: "alice", Password: "s3cret"}, nil
		},
		Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			urls = append(urls, req.Method+" "+req.URL.String())
			require.Equal(t, "ctor", req.UserAgent())
			resp := &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: req}
			if req.Header.Get("Authorization") == "" {
				resp.StatusCode = 401
				resp.Header.Set("WWW-Authenticate", `Basic realm="Docker Hub"`)
			}
			return resp, nil
		}),
	}
	for _, host := range []string{"docker.io", "index.docker.io"} {
		r, err := registry.New(host, o)
		require.NoError(t, err)
		require.Equal(t, "docker.io", r.Host())
		for _, ref := range []string{"alpine", "library/alpine:latest", "docker.io/alpine"} {
			_, err := r.Resolve(t.Context(), ref)
			require.EqualError(t, err, "registry docker.io: resolve library/alpine:latest: not found")
		}
	}
	urls = slices.Compact(urls)
	require.Equal(t, []string{"HEAD https://registry-1.docker.io/v2/library/alpine/manifests/latest"}, urls)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestLoopback: a host that is this machine speaks what it answers a TLS
// handshake with, and a certificate that nobody trusts is no reason to send
// anything in the clear.
func TestLoopback(t *testing.T) {
	tls := registrytest.NewServer(t, &registrytest.Options{TLS: true})
	image, _ := publish(t, open(t, tls), "app:v1")
	r, err := registry.New(tls.Host, &registry.Options{Retries: never})
	require.NoError(t, err)
	tls.ResetRequests()
	require.ErrorContains(t, r.Ping(t.Context()), "certificate")
	require.Empty(t, tls.Requests())

	r, err = registry.New("localhost:"+tls.Host[strings.LastIndexByte(tls.Host, ':')+1:], tls.Options())
	require.NoError(t, err)
	require.ErrorContains(t, r.Ping(t.Context()), "certificate") // of 127.0.0.1

	r, err = registry.New(tls.Host, tls.Options())
	require.NoError(t, err)
	got, err := r.Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)
	require.Contains(t, tls.Requests(), registrytest.Request{Method: "HEAD", Path: "/v2/app/manifests/v1"})

	// One that isn't there, or hangs up on what it doesn't know, has no TLS;
	// the next call asks again.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	r, err = registry.New(l.Addr().String(), &registry.Options{Retries: never})
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if line, _ := bufio.NewReader(c).ReadString('\n'); strings.HasPrefix(line, "GET /v2/ ") {
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			}
			_ = c.Close()
		}
	}()
	require.NoError(t, r.Ping(t.Context()))
}

// TestTaken: a registry may say in its own way that it has stored something.
func TestTaken(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	for _, code := range []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent} {
		srv.SetMiddleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && (code != http.StatusAccepted || strings.Contains(r.URL.Path, "/manifests/")) {
					w = &otherStatus{w, code}
				}
				next.ServeHTTP(w, r)
			})
		})
		publish(t, open(t, srv), "app:v1")
	}
	srv.SetMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&otherStatus{w, http.StatusAccepted}, r) })
	})
	require.Error(t, open(t, srv).Push(t.Context(), "app", describe("", []byte("x")), strings.NewReader("x")))
}

// otherStatus has a registry say something else than 201.
type otherStatus struct {
	http.ResponseWriter
	code int
}

func (o *otherStatus) WriteHeader(code int) {
	if code == http.StatusCreated {
		code = o.code
	}
	o.ResponseWriter.WriteHeader(code)
}
