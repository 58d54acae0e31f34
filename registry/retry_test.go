package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// times answers the first n matching requests by f, after their bodies.
func times(n int32, method, part string, f http.HandlerFunc) registrytest.Middleware {
	var served atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == method && strings.Contains(r.URL.Path, part) && served.Add(1) <= n {
				f(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
	}
}

// TestPushGoesOn: whatever breaks once in an upload is tried again, and begun
// anew where the registry has kept half of it.
func TestPushGoesOn(t *testing.T) {
	content := noise(3 << 20)
	d := describe(ocispec.MediaTypeImageLayer, content)
	for name, m := range map[string]registrytest.Middleware{
		"begin: EOF":   times(1, http.MethodPost, "/blobs/", hangUp),
		"begin: 503":   times(1, http.MethodPost, "/blobs/", status(http.StatusServiceUnavailable)),
		"content: 502": times(1, http.MethodPut, "/blobs/", status(http.StatusBadGateway)),
		"content: 429": times(1, http.MethodPut, "/blobs/", status(http.StatusTooManyRequests)),
		"content: EOF": times(1, http.MethodPut, "/blobs/", hangUp),
		"content: half of it is kept": func(next http.Handler) http.Handler {
			return times(1, http.MethodPut, "/blobs/", func(w http.ResponseWriter, r *http.Request) {
				half := r.Clone(r.Context())
				half.Method = http.MethodPatch
				half.Body = io.NopCloser(io.LimitReader(r.Body, 1<<20))
				half.ContentLength = 1 << 20
				half.Header.Set("Content-Range", fmt.Sprintf("0-%d", 1<<20-1))
				next.ServeHTTP(&nothing{http.Header{}}, half)
				panic(http.ErrAbortHandler)
			})(next)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, nil)
			srv.SetMiddleware(m)
			r, err := registry.New(srv.Host, nil)
			require.NoError(t, err)
			require.NoError(t, r.Push(t.Context(), "app", d, io.NewSectionReader(bytes.NewReader(content), 0, d.Size)))
			require.True(t, bytes.Equal(content, fetch(t, r, "app", d)))
		})
	}
}

// nothing is where an answer goes that nobody gets.
type nothing struct{ header http.Header }

func (n *nothing) Header() http.Header         { return n.header }
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n *nothing) WriteHeader(int)             {}

// TestPushOfOtherLength: a body that can be read again is held to its length.
func TestPushOfOtherLength(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	d := describe(ocispec.MediaTypeImageLayer, []byte("four"))
	for _, body := range []string{"fo", "four and more"} {
		require.Error(t, r.Push(t.Context(), "app", d, io.NewSectionReader(strings.NewReader(body), 0, int64(len(body)))), body)
	}
	from := io.NewSectionReader(strings.NewReader("not four"), 0, 8)
	_, err := from.Seek(4, io.SeekStart)
	require.NoError(t, err)
	require.NoError(t, r.Push(t.Context(), "app", d, from)) // from where it is
}

// TestRetryAfter: a registry that says when to come back is heeded, unless that
// is too long.
func TestRetryAfter(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	publish(t, open(t, srv), "app:v1")
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	for name, say := range map[string]func(until time.Time) (int, string){
		"seconds":       func(time.Time) (int, string) { return http.StatusTooManyRequests, "2" },
		"date":          func(u time.Time) (int, string) { return http.StatusTooManyRequests, u.UTC().Format(http.TimeFormat) },
		"seconds, 503":  func(time.Time) (int, string) { return http.StatusServiceUnavailable, "2" },
		"date with 503": func(u time.Time) (int, string) { return http.StatusServiceUnavailable, u.UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			until := time.Now().Add(2 * time.Second)
			early := atomic.Int32{}
			srv.SetMiddleware(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if time.Now().Before(until.Truncate(time.Second)) {
						early.Add(1)
						code, after := say(until)
						w.Header().Set("Retry-After", after)
						w.WriteHeader(code)
						return
					}
					next.ServeHTTP(w, req)
				})
			})
			_, err := r.Resolve(t.Context(), "app:v1")
			require.NoError(t, err)
			require.LessOrEqual(t, early.Load(), int32(1))
		})
	}
	t.Run("too long", func(t *testing.T) {
		for _, after := range []string{"9999999999999", "3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
			srv.SetMiddleware(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", after)
					w.WriteHeader(http.StatusTooManyRequests)
				})
			})
			srv.ResetRequests()
			_, err := r.Resolve(t.Context(), "app:v1")
			require.ErrorIs(t, err, registry.ErrRateLimited)
			require.ErrorIs(t, err, errdefs.ErrUnavailable)
			var e *registry.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusTooManyRequests, e.StatusCode)
			require.Greater(t, e.RetryAfter, time.Now().Add(50*time.Minute))
			require.ErrorContains(t, err, "; ask again after ")
			require.Len(t, srv.Requests(), 1)
		}
		for err := range errorsOf(r.Tags(t.Context(), "app")) {
			require.ErrorIs(t, err, registry.ErrRateLimited) // by way of oras too
		}
	})
}

// errorsOf drops what a listing lists.
func errorsOf[T any](seq func(func(T, error) bool)) func(func(error) bool) {
	return func(yield func(error) bool) { seq(func(_ T, err error) bool { return yield(err) }) }
}
