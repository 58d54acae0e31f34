package registry

import (
	"context"

	"github.com/ctorhq/ctor/internal/reference"
)

// Bounds on what a registry may make a program read.
const (
	// maxManifest is the size the OCI distribution-spec asks registries to
	// take; nothing real comes near it.
	maxManifest = 4 << 20
	// maxList bounds one page of a listing. Hub sends all tags in one page.
	maxList = 32 << 20
	// maxPages bounds the pages of a listing.
	maxPages = 10_000
)

// Registry is a client of one registry. It is safe for concurrent use, holds
// no connection of its own and needs no Close.
type Registry struct {
	host    string
	origin  *endpoint
	mirrors []*endpoint
	retries int
}

// New returns a client of the registry at host: "docker.io",
// "ghcr.io", "localhost:5000". It asks nothing of the network. A nil o means
// the default options.
//
// The host may be preceded by "https://" or "http://", which decides the
// protocol whatever the host and [Options].PlainHTTP say. The error is of
// class ErrInvalidArgument.
func New(host string, o *Options) (*Registry, error) {
	if o == nil {
		o = new(Options)
	}
	origin, err := newEndpoint(host, o.PlainHTTP, o.patience(answerLimit), o.retries(), o)
	if err != nil {
		return nil, err
	}
	r := &Registry{host: origin.host, origin: origin, retries: o.retries()}
	for _, m := range o.Mirrors {
		mirror, err := newEndpoint(m, false, o.patience(o.mirrorTimeout()), 0, o)
		if err != nil {
			return nil, err
		}
		r.mirrors = append(r.mirrors, mirror)
	}
	return r, nil
}

// Host returns the name images of this registry begin with: "docker.io",
// "localhost:5000".
func (r *Registry) Host() string { return r.host }

// String returns the host.
func (r *Registry) String() string { return r.host }

// Ping asks whether a registry answers at the host and lets this program in:
// GET /v2/ of the [distribution spec]. Many registries want credentials for
// it even where their images are public.
//
// [distribution spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#determining-support
func (r *Registry) Ping(ctx context.Context) error {
	return r.failed(ctx, "ping", "", r.origin.root(ctx).Ping(ctx))
}

// repository checks the name of a repository. It is taken as it is, save for
// the "library/" that Docker Hub's short names stand for.
func (r *Registry) repository(name string) (reference.Reference, error) {
	return reference.Repository(r.host, name)
}
