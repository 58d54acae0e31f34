// Package distribution is the server's side of the OCI distribution
// specification, 1.1: requests, answers, upload sessions. What is kept, and how,
// is a [Store]'s.
//
// Everything in a request is hostile: names, digests and ranges are checked
// before the store sees them, manifests have a bound, and an upload that is
// left alone is dropped.
package distribution

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Store keeps what a registry serves. Names, tags and digests that it is given
// are valid. What isn't there is errdefs.ErrNotFound, and what may not be done
// is errdefs.ErrFailedPrecondition with a sentence for the client.
type Store interface {
	// Repositories names all that have a manifest, in any order.
	Repositories(ctx context.Context) ([]string, error)

	// Tags gives a repository's, in any order.
	Tags(ctx context.Context, repo string) ([]string, error)

	// Manifest finds one by its tag or its digest.
	Manifest(ctx context.Context, repo, ref string) (Manifest, error)

	// PutManifest keeps a manifest, also under tags, which move. What it lists
	// has to be in the repository; see [Missing].
	PutManifest(ctx context.Context, repo string, m Manifest, tags []string) error

	// DeleteManifest forgets a tag, or a manifest with all its tags.
	DeleteManifest(ctx context.Context, repo, ref string) error

	// Referrers gives those manifests of the repository that have this subject,
	// in any order.
	Referrers(ctx context.Context, repo string, subject digest.Digest) ([]Manifest, error)

	// Blob opens a blob of the repository.
	Blob(ctx context.Context, repo string, d digest.Digest) (Blob, error)

	// DeleteBlob takes a blob out of the repository.
	DeleteBlob(ctx context.Context, repo string, d digest.Digest) error

	// Mount puts a blob of another repository into this one; from "" is any.
	Mount(ctx context.Context, repo, from string, d digest.Digest) error

	// Ingest begins a blob. It outlives ctx.
	Ingest(ctx context.Context) (Ingest, error)
}

// Blob is content that can be read.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Ingest is a blob that is being written, by one goroutine at a time.
type Ingest interface {
	io.Writer

	// Size is how much was written.
	Size() int64

	// Restart forgets what was written.
	Restart() error

	// Commit puts the blob into a repository, if it has that digest; if not, it
	// is errdefs.ErrInvalidArgument. It ends the ingest either way.
	Commit(ctx context.Context, repo string, d digest.Digest) error

	// Close ends the ingest. After Commit it does nothing.
	Close() error
}

// Registry is a registry as an http.Handler, for the root of a server.
type Registry struct {
	store   func(host string) Store
	log     *slog.Logger
	uploads uploads
}

// New makes a registry. store gives what it keeps, as a client sees it that
// calls the registry host, which is the client's word. A nil log is silent.
func New(store func(host string) Store, log *slog.Logger) *Registry {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{store: store, log: log}
	r.uploads.init()
	return r
}

// Close ends the uploads under way. It may be called twice.
func (r *Registry) Close() error { return r.uploads.close() }

// call is one request.
type call struct {
	*Registry
	http.ResponseWriter
	*http.Request
	route
	store Store
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	defer endWith(req.Context(), w)()
	c := &call{Registry: r, ResponseWriter: w, Request: req, store: r.store(req.Host)}
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

func (c *call) serve() error {
	var err error
	if c.route, err = parse(c.URL.Path); err != nil {
		return err
	}
	method := c.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	verb, ok := verbs[c.kind][method]
	if !ok {
		c.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(verbs[c.kind])), ", "))
		return failure(http.StatusMethodNotAllowed, codeUnsupported, "%.20q is no method for this", c.Method)
	}
	return verb(c)
}

// verbs are what can be done with each kind of thing. HEAD is GET, whose body
// net/http leaves out.
var verbs = map[kind]map[string]func(*call) error{
	base:      {http.MethodGet: (*call).ping},
	catalog:   {http.MethodGet: (*call).repositories},
	tags:      {http.MethodGet: (*call).tags},
	referrers: {http.MethodGet: (*call).referrers},
	manifests: {http.MethodGet: (*call).getManifest, http.MethodPut: (*call).putManifest, http.MethodDelete: (*call).deleteManifest},
	blobs:     {http.MethodGet: (*call).getBlob, http.MethodDelete: (*call).deleteBlob},
	newUpload: {http.MethodPost: (*call).beginUpload},
	oneUpload: {http.MethodGet: (*call).statUpload, http.MethodPatch: (*call).patchUpload, http.MethodPut: (*call).endUpload, http.MethodDelete: (*call).cancelUpload},
}

func (c *call) ping() error {
	c.Header().Set("Content-Type", "application/json")
	_, err := io.WriteString(c, "{}")
	return gone(err)
}

// Header is the answer's; the request's is Request.Header.
func (c *call) Header() http.Header { return c.ResponseWriter.Header() }

// Write writes to the answer.
func (c *call) Write(p []byte) (int, error) { return c.ResponseWriter.Write(p) }
