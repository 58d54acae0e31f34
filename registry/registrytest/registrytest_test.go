package registrytest_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

var content = []byte("some blob, long enough to be cut")

// use pushes a blob to srv, fetches it and asks for something that isn't there.
func use(t testing.TB, srv *registrytest.Server) ocispec.Descriptor {
	t.Helper()
	r, err := registry.New(srv.Host, srv.Options())
	require.NoError(t, err)
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: int64(len(content))}
	require.NoError(t, r.Push(t.Context(), "app", d, bytes.NewReader(content)))
	rc, err := r.Fetch(t.Context(), "app", d)
	require.NoError(t, err)
	got, err := io.ReadAll(rc)
	require.NoError(t, err)
	require.NoError(t, rc.Close())
	require.Equal(t, content, got)
	_, err = r.Resolve(t.Context(), "none:v1")
	require.Error(t, err)
	return d
}

func TestServers(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new")
	for name, o := range map[string]*registrytest.Options{
		"nil":   nil,
		"auth":  {Username: "u", Password: "p"},
		"TLS":   {TLS: true, Username: "u", Password: "p"},
		"files": {Root: root},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // more than one in a process
			use(t, registrytest.NewServer(t, o))
		})
	}
	t.Cleanup(func() {
		_, err := os.Stat(filepath.Join(root, "repositories.json"))
		require.NoError(t, err)
	})
}

func TestRequests(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	require.Empty(t, srv.Requests())
	resp, err := http.Get(srv.URL + "/v2/?x=y")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "[GET /v2/]", fmt.Sprint(srv.Requests()))
	srv.ResetRequests()
	require.Empty(t, srv.Requests())
}

func TestAuth(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	for userinfo, want := range map[string]int{"": 401, "u:p@": 200, "u:x@": 401, "x:p@": 401, "u@": 401, "up:@": 401} {
		resp, err := http.Get("http://" + userinfo + srv.Host + "/v2/")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, userinfo)
	}
}

// TestCloseLeavesNothing counts goroutines, and waits for those that are on
// their way out.
func TestCloseLeavesNothing(t *testing.T) {
	round := func() {
		srv := registrytest.NewServer(t, nil)
		use(t, srv)
		srv.Close()
		srv.Close()
		_, err := http.Get(srv.URL)
		require.Error(t, err)
	}
	round() // what starts once a process
	before := runtime.NumGoroutine()
	for range 20 {
		round()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("left behind:\n%s", b[:runtime.Stack(b, true)])
		}
	}
}

// TestCloseEndsRequests: one that hangs does not keep a test from its end.
func TestCloseEndsRequests(t *testing.T) {
	entered := make(chan struct{})
	srv := registrytest.NewServer(t, &registrytest.Options{Middleware: func(next http.Handler) http.Handler {
		hang := registrytest.Hang(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			hang.ServeHTTP(w, r)
		})
	}})
	done := make(chan error)
	go func() {
		resp, err := (&http.Client{Transport: new(http.Transport)}).Get(srv.URL)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-entered
	srv.Close()
	require.Error(t, <-done)
}

func TestFaults(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	d := use(t, srv)
	url := srv.URL + "/v2/app/blobs/" + d.Digest.String()
	get := func(method, url string) (int, []byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, b, err
	}
	sound := func(method, url string) {
		t.Helper()
		status, _, err := get(method, url)
		require.NoError(t, err)
		require.Equal(t, 200, status)
	}

	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Fail(2, 429)))
	for range 2 {
		status, b, err := get("GET", url)
		require.NoError(t, err)
		require.Equal(t, 429, status)
		require.Contains(t, string(b), "TOOMANYREQUESTS")
		sound("HEAD", url)
		sound("GET", srv.URL+"/v2/")
	}
	sound("GET", url)

	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(1, 9)))
	_, b, err := get("GET", url)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, content[:9], b)
	sound("GET", url)

	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
	_, b, err = get("GET", url)
	require.NoError(t, err)
	require.NotEqual(t, content, b)
	require.Equal(t, content[1:], b[1:])

	srv.SetMiddleware(registrytest.On(registrytest.Manifests, registrytest.Fail(-1, 500)))
	for range 3 {
		status, _, _ := get("HEAD", srv.URL+"/v2/app/manifests/v1")
		require.Equal(t, 500, status)
	}
	srv.SetMiddleware(nil)
	status, _, _ := get("HEAD", srv.URL+"/v2/app/manifests/v1")
	require.Equal(t, 404, status)
}

func TestHandlerRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := registrytest.Handler(&registrytest.Options{Root: file})
	require.ErrorContains(t, err, "registrytest: mkdir "+file)
}

func ExampleHandler() {
	h, err := registrytest.Handler(&registrytest.Options{Username: "alice", Password: "s3cret"})
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewServer(h) // or http.ListenAndServe
	defer srv.Close()

	resp, err := http.Get(srv.URL + "/v2/")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 401 Unauthorized
}

func ExampleServer() {
	// func TestPing
	_ = func(t *testing.T) {
		srv := registrytest.NewServer(t, nil)
		reg, err := registry.New(srv.Host, srv.Options())
		if err != nil {
			t.Fatal(err)
		}
		srv.SetMiddleware(registrytest.Fail(1, http.StatusServiceUnavailable))
		if err := reg.Ping(t.Context()); err != nil { // asks again
			t.Error(err)
		}
		if n := len(srv.Requests()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}

// A registry whose blobs break off once after a thousand bytes.
func ExampleOptions() {
	_ = registrytest.Options{
		Middleware: registrytest.On(registrytest.Blobs, registrytest.Cut(1, 1000)),
	}
}

// Middleware of one's own: a registry that moves its blobs to another host.
func ExampleMiddleware() {
	moved := func(http.Handler) http.Handler {
		return http.RedirectHandler("https://cdn.example.com/blob", http.StatusTemporaryRedirect)
	}
	_ = registrytest.Options{Middleware: registrytest.On(registrytest.Blobs, moved)}
}

func ExampleRequest() {
	fmt.Println(registrytest.Request{Method: "GET", Path: "/v2/"})
	// Output: GET /v2/
}

// TestNames: no name of a repository or a tag is like any other to the registry
// alone.
func TestNames(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	config := []byte(`{}`)
	c := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	m := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		ocispec.MediaTypeImageManifest, c.MediaType, c.Digest, c.Size)
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	repos := []string{"nginx/nginx", "repositories", "v2/v2/v2", "blobs/uploads", "_layers/x"[1:], "app/app/tags", "docker/registry"}
	tags := []string{"current", "index", "latest", "link", "sha256", "tags"}
	for _, repo := range repos {
		require.NoError(t, r.Push(t.Context(), repo, c, bytes.NewReader(config)), repo)
		for _, tag := range tags {
			require.NoError(t, r.PushManifest(t.Context(), repo+":"+tag, d, bytes.NewReader(m)), repo+":"+tag)
		}
	}
	for _, repo := range repos {
		var got []string
		for tag, err := range r.Tags(t.Context(), repo) {
			require.NoError(t, err)
			got = append(got, tag)
		}
		require.Equal(t, tags, got, repo)
		for _, tag := range tags {
			found, err := r.Resolve(t.Context(), repo+":"+tag)
			require.NoError(t, err, repo+":"+tag)
			require.Equal(t, d, found)
		}
	}
	var got []string
	for repo, err := range r.Repositories(t.Context()) {
		require.NoError(t, err)
		got = append(got, repo)
	}
	require.ElementsMatch(t, repos, got)
}
