package registrytest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ctorhq/ctor/registry"
)

// Server is a registry on a loopback port of the system's choice.
type Server struct {
	URL  string // "http://127.0.0.1:40123"
	Host string // "127.0.0.1:40123": what references to its images begin with

	options  Options
	http     *httptest.Server
	registry io.Closer
	closing  sync.Once

	mu       sync.Mutex
	handler  http.Handler // with the middleware
	bare     http.Handler // without
	requests []Request
}

// Request is one that a Server got.
type Request struct {
	Method string // "GET"
	Path   string // "/v2/app/manifests/v1", without the query
}

// String returns the method and the path.
func (r Request) String() string { return r.Method + " " + r.Path }

// NewServer starts a registry and closes it when the test ends. It fails the
// test if it can't. A nil o means the default options.
func NewServer(t testing.TB, o *Options) *Server {
	t.Helper()
	if o == nil {
		o = new(Options)
	}
	s := &Server{options: *o}
	bare := *o
	bare.Middleware = nil
	h, closer, err := newHandler(&bare)
	if err != nil {
		t.Fatalf("registrytest: %v", err)
	}
	s.bare, s.registry = h, closer
	s.SetMiddleware(o.Middleware)
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = s.http.URL
	_, s.Host, _ = strings.Cut(s.URL, "://")
	t.Cleanup(s.Close)
	return s
}

// Close ends the server and the requests it is at. It may be called twice.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.http.CloseClientConnections()
		s.http.Close()
		_ = s.registry.Close() // what is lost is temporary
	})
}

// Options returns options that reach the server: its credentials, and its
// certificate if it has one.
func (s *Server) Options() *registry.Options {
	o := &registry.Options{
		Credentials: func(_ context.Context, host string) (registry.Credential, error) {
			if host != s.Host {
				return registry.Credential{}, nil
			}
			return registry.Credential{Username: s.options.Username, Password: s.options.Password}, nil
		},
	}
	if s.options.TLS {
		o.Transport = s.http.Client().Transport
	}
	return o
}

// Requests returns the requests so far, in the order they came.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// ResetRequests forgets the requests so far.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// SetMiddleware replaces the middleware, from the next request on. Nil means
// none, as when a registry should fail only after it was filled.
func (s *Server) SetMiddleware(m Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = s.bare
	if m != nil {
		s.handler = m(s.bare)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path})
	h := s.handler
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}
