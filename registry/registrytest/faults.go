package registrytest

import (
	"net/http"
	"strings"
	"sync/atomic"
)

// Middleware is what stands before a registry and may answer in its place.
type Middleware func(next http.Handler) http.Handler

// On applies m to the requests that match, and leaves the others alone.
func On(match func(*http.Request) bool, m Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		faulty := m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// Blobs matches the download of a blob, for On.
func Blobs(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha")
}

// Manifests matches the download of a manifest, or the question for one, for
// On.
func Manifests(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.URL.Path, "/manifests/")
}

// Fail answers the first n requests with status, and every one if n is
// negative.
func Fail(n int, status int) Middleware {
	return times(n, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeError(w, status) })
	})
}

// Cut breaks the connection after size bytes of the body, in the first n
// answers, and in every one if n is negative.
func Cut(n int, size int64) Middleware {
	return times(n, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&cutWriter{ResponseWriter: w, left: size}, r)
		})
	})
}

// Corrupt changes the first byte of the body, in every answer.
func Corrupt(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&corruptWriter{ResponseWriter: w}, r)
	})
}

// Hang answers nothing until the client goes away.
func Hang(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// times applies m to the first n requests.
func times(n int, m Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		var served atomic.Int64
		faulty := m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n < 0 || served.Add(1) <= int64(n) {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= w.left {
		w.left -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler) // net/http's way to drop a connection
}

type corruptWriter struct {
	http.ResponseWriter
	done bool
}

func (w *corruptWriter) Write(p []byte) (int, error) {
	if w.done || len(p) == 0 {
		return w.ResponseWriter.Write(p)
	}
	w.done = true
	bad := append([]byte(nil), p...)
	bad[0] ^= 0xff
	return w.ResponseWriter.Write(bad)
}
