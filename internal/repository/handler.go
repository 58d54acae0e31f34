// Package repository shows the images of an engine as the repositories of a
// registry.
//
// A repository is called as images are: what is pushed as app:v1 is the engine's
// image app:v1, which is docker.io/library/app:v1. What is pushed by its digest
// alone is an image with a digest for a name, until an index lists it, or it is
// about an image that is there.
//
// The engine's store knows no repositories, only content and names. So a blob is
// in a repository if something with a name there leads to it, or if it was pushed
// there a little while ago, and waits for its manifest.
package repository

import (
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/internal/distribution"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/memo"
)

// store is the engine's, as far as no client's view of it goes.
type store struct {
	e    *engine.Engine
	wait time.Duration                    // how long a blob waits for its manifest
	most int                              // blobs that wait
	kin  memo.Memo[digest.Digest, family] // so that not each request for a blob reads manifests

	mu     sync.Mutex
	claims map[claimKey]*claim
}

// Bounds on blobs that wait for their manifests: an hour is for an image of many
// large layers and a slow line, and their number for ten of the largest images.
const (
	waitLimit = time.Hour
	mostWait  = 10_000
)

// view is the store as a client sees it.
type view struct {
	*store
	host string // what the client calls the registry
}

// Handler serves an engine's images. Its requests are calls of the engine.
func Handler(e *engine.Engine) http.Handler {
	return newStore(e, waitLimit, mostWait).handler()
}

func newStore(e *engine.Engine, wait time.Duration, most int) *store {
	return &store{e: e, wait: wait, most: most, claims: map[claimKey]*claim{}}
}

func (s *store) handler() http.Handler {
	registry := distribution.New(func(host string) distribution.Store { return view{s, host} }, s.e.Logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, leave, err := s.e.Enter(r.Context())
		if err != nil {
			http.Error(w, "the registry is not available", http.StatusServiceUnavailable)
			return
		}
		defer leave()
		registry.ServeHTTP(w, r.WithContext(ctx))
	})
}

// refused is an error with a sentence for the client.
func refused(err error) error { return &refusal{err} }

type refusal struct{ error }

func (r *refusal) Unwrap() []error { return []error{r.error, errdefs.ErrFailedPrecondition} }
