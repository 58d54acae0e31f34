package registry

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

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
	origin, err := newEndpoint(host, o.PlainHTTP, o, o.transport())
	if err != nil {
		return nil, err
	}
	r := &Registry{host: origin.host, origin: origin, retries: o.retries()}
	for _, m := range o.Mirrors {
		mirror, err := newEndpoint(m, false, o, o.mirrorTransport())
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
	reg := &remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client:    r.origin.client,
		Reference: registry.Reference{Registry: r.origin.host},
		PlainHTTP: r.origin.plain,
	}}
	return r.failed(ctx, "ping", "", reg.Ping(ctx))
}

// repository checks the name of a repository. It is taken as it is, save for
// the "library/" that Docker Hub's short names stand for.
func (r *Registry) repository(name string) (reference.Reference, error) {
	return reference.Repository(r.host, name)
}

// endpoint is one host that speaks the registry protocol: the registry
// itself or a mirror. Each has its own client, so that a credential or a
// token of one can't reach another.
type endpoint struct {
	host   string
	plain  bool
	client remote.Client
}

func newEndpoint(host string, plain bool, o *Options, t *transport) (*endpoint, error) {
	bare, https := strings.CutPrefix(host, "https://")
	bare, http := strings.CutPrefix(bare, "http://")
	name, err := reference.Host(bare)
	if err != nil {
		return nil, err
	}
	e := &endpoint{host: name, plain: http || !https && (plain || isLoopback(name))}
	e.client = t.client(e, o)
	return e, nil
}

// repository returns oras' client of a repository whose name was checked.
func (e *endpoint) repository(name string) *remote.Repository {
	return &remote.Repository{
		Client:               e.client,
		Reference:            registry.Reference{Registry: e.host, Repository: name},
		PlainHTTP:            e.plain,
		TagListMaxPages:      maxPages,
		ReferrerListMaxPages: maxPages,
		MaxMetadataBytes:     maxList,
	}
}

// isLoopback reports whether host can only be this machine.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.IsLoopback()
}
