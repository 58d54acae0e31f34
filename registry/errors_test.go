package registry_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// answer is a registry that always says the same.
func answer(status int, contentType, body string) registrytest.Middleware {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
}

func TestErrorClasses(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	says := func(code string) string {
		return fmt.Sprintf(`{"errors":[{"code":%q,"message":"so it is","detail":{"a":"b"}}]}`, code)
	}
	for _, tt := range []struct {
		status     int
		body, want string
		class      error
	}{
		{400, says("NAME_INVALID"), "400 bad request: name invalid: so it is", errdefs.ErrInvalidArgument},
		{400, says("NAME_UNKNOWN"), "400 bad request: name unknown: so it is", errdefs.ErrNotFound},
		{401, says("UNAUTHORIZED"), `401 unauthorized: unauthorized: so it is; run "docker login HOST" or set Options.Credentials`, errdefs.ErrUnauthenticated},
		{403, says("DENIED"), "403 forbidden: denied: so it is", errdefs.ErrPermissionDenied},
		{404, says("NAME_UNKNOWN"), "404 not found: name unknown: so it is", errdefs.ErrNotFound},
		{405, says("UNSUPPORTED"), "405 method not allowed: unsupported: so it is", errdefs.ErrNotImplemented},
		{409, "", "409 conflict", errdefs.ErrConflict},
		{413, "", "413 request entity too large", errdefs.ErrOutOfRange},
		{418, "", "418 i'm a teapot", errdefs.ErrInvalidArgument},
		{429, says("TOOMANYREQUESTS"), "429 too many requests: toomanyrequests: so it is", errdefs.ErrUnavailable},
		{500, "<html>", "500 internal server error", errdefs.ErrUnavailable},
		{503, says("UNKNOWN"), "503 service unavailable: unknown: so it is", errdefs.ErrUnavailable},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			srv.SetMiddleware(answer(tt.status, "application/json", tt.body))
			_, err := last(r.Tags(t.Context(), "app"))
			require.ErrorIs(t, err, tt.class)
			require.EqualError(t, err, strings.ReplaceAll("registry HOST: list tags of app: "+tt.want, "HOST", srv.Host))
			var e *registry.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.status, e.StatusCode)
			require.Equal(t, srv.Host, e.Host)
		})
	}
}

func TestNotFound(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, layer := publish(t, r, "app:v1")
	_, err := r.Resolve(t.Context(), "app:v2")
	require.EqualError(t, err, "registry "+srv.Host+": resolve app:v2: not found")
	for name, call := range map[string]func() error{
		"tag":        func() error { _, err := r.Resolve(t.Context(), "app:v2"); return err },
		"repository": func() error { _, err := r.Resolve(t.Context(), "none:v1"); return err },
		"manifest":   func() error { _, err := r.Fetch(t.Context(), "none", image); return err },
		"blob":       func() error { _, err := r.Fetch(t.Context(), "none", layer); return err },
		"tags":       func() error { _, err := last(r.Tags(t.Context(), "none")); return err },
		"tagging":    func() error { return r.Tag(t.Context(), "none:v1", image) },
	} {
		t.Run(name, func(t *testing.T) {
			err := call()
			require.ErrorIs(t, err, errdefs.ErrNotFound)
			var e *registry.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusNotFound, e.StatusCode)
		})
	}
}

func TestUnavailable(t *testing.T) {
	gone := registrytest.NewServer(t, nil)
	gone.Close()
	_, err := open(t, gone).Resolve(t.Context(), "app:v1")
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.EqualError(t, err, fmt.Sprintf("registry %[1]s: resolve app:v1: dial tcp %[1]s: connect: connection refused", gone.Host))

	dns := &net.DNSError{Err: "no such host", Name: "nowhere.example", IsNotFound: true}
	r, err := registry.New("nowhere.example", &registry.Options{
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: dns}
		}),
	})
	require.NoError(t, err)
	err = r.Ping(t.Context())
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorIs(t, err, dns)
	require.EqualError(t, err, "registry nowhere.example: ping: dial tcp: lookup nowhere.example: no such host")
}

func TestPlainHTTPHint(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r, err := registry.New("https://"+srv.Host, nil)
	require.NoError(t, err)
	require.EqualError(t, r.Ping(t.Context()), "registry "+srv.Host+
		": ping: http: server gave HTTP response to HTTPS client; set Options.PlainHTTP if that is meant")
}

func TestRetries(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r, err := registry.New(srv.Host, &registry.Options{Retries: 1})
	require.NoError(t, err)
	image, layer := publish(t, r, "app:v1")

	srv.SetMiddleware(registrytest.Fail(1, http.StatusServiceUnavailable))
	got, err := r.Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)

	srv.SetMiddleware(registrytest.Fail(1, http.StatusTooManyRequests))
	fetch(t, r, "app", layer)

	srv.SetMiddleware(registrytest.Fail(2, http.StatusServiceUnavailable))
	srv.ResetRequests()
	_, err = r.Resolve(t.Context(), "app:v1")
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.Len(t, srv.Requests(), 2)
}

func TestContext(t *testing.T) {
	hangs := make(chan struct{}, 10)
	srv := registrytest.NewServer(t, nil)
	_, layer := publish(t, open(t, srv), "app:v1")
	srv.SetMiddleware(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			hangs <- struct{}{}
			<-r.Context().Done()
		})
	})
	r, err := registry.New(srv.Host, srv.Options()) // one that would retry
	require.NoError(t, err)
	for name, call := range map[string]func(context.Context) error{
		"ping":    r.Ping,
		"resolve": func(ctx context.Context) error { _, err := r.Resolve(ctx, "app:v1"); return err },
		"fetch":   func(ctx context.Context) error { _, err := r.Fetch(ctx, "app", layer); return err },
		"exists":  func(ctx context.Context) error { _, err := r.Exists(ctx, "app", layer); return err },
		"push": func(ctx context.Context) error {
			return r.Push(ctx, "app", layer, strings.NewReader("the layer of app"))
		},
		"tags":         func(ctx context.Context) error { _, err := last(r.Tags(ctx, "app")); return err },
		"repositories": func(ctx context.Context) error { _, err := last(r.Repositories(ctx)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-hangs; cancel() }()
			err := call(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, errdefs.ErrUnavailable)
			require.True(t, strings.HasSuffix(err.Error(), ": context canceled"), err.Error())

			srv.ResetRequests()
			require.ErrorIs(t, call(ctx), context.Canceled)
			require.Empty(t, srv.Requests())
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	require.ErrorIs(t, r.Ping(ctx), context.DeadlineExceeded)
}

// TestErrorsAreTame: what a registry says does not reach a terminal as it is,
// and does not fill it.
func TestErrorsAreTame(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	for name, message := range map[string]string{
		"control":  "\x1b[2J\x07\x00\nregistry good.example: all is well \u202e",
		"long":     strings.Repeat("x", 7000),
		"too long": strings.Repeat("x", 1<<20),
		"url":      "go to https://user:s3cret@a.b/x?token=s3cret#s3cret or HTTP://s3cret@a.b",
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(answer(400, "application/json", fmt.Sprintf(`{"errors":[{"code":"X","message":%q}]}`, message)))
			err := r.Ping(t.Context())
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.Less(t, len(err.Error()), 1200)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotRegexp(t, "[\x00-\x1f\u202e]", err.Error())
		})
	}
}
