package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/internal/reference"
)

// handshake is how long a loopback host may take to answer as TLS does.
const handshake = 3 * time.Second

// endpoint is one host that speaks the registry protocol: the registry
// itself or a mirror. Each has its own client, so that a credential or a
// token of one can't reach another.
type endpoint struct {
	host   string
	client *client
	base   http.RoundTripper

	mu     sync.Mutex
	scheme string // "" until a loopback host has been asked
}

func newEndpoint(host string, plain bool, base http.RoundTripper, retries int, o *Options) (*endpoint, error) {
	bare, https := strings.CutPrefix(host, "https://")
	bare, http := strings.CutPrefix(bare, "http://")
	name, err := reference.Host(bare)
	if err != nil {
		return nil, err
	}
	e := &endpoint{host: name, base: base}
	switch {
	case https:
		e.scheme = "https"
	case http, plain:
		e.scheme = "http"
	case !isLoopback(name):
		e.scheme = "https"
	}
	e.client = newClient(e, base, retries, o)
	return e, nil
}

// url is the endpoint's root, for a scheme. Docker Hub's registry has another
// name than its images.
func (e *endpoint) url(scheme string) *url.URL {
	return &url.URL{Scheme: scheme, Host: registry.Reference{Registry: e.host}.Host(), Path: "/"}
}

// speaks returns the scheme of the endpoint's URLs.
func (e *endpoint) speaks(ctx context.Context) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.scheme != "" {
		return e.scheme
	}
	scheme, sure := e.ask(ctx)
	if sure {
		e.scheme = scheme
	}
	return scheme
}

// ask finds out whether the endpoint speaks TLS, be the certificate good or not.
// That is known with the handshake: the request is given up before it is sent, or
// soon after.
func (e *endpoint) ask(ctx context.Context) (scheme string, sure bool) {
	asked, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	var spoke sync.Once
	https := false
	asked = httptrace.WithClientTrace(asked, &httptrace.ClientTrace{TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
		if err == nil {
			spoke.Do(func() { https = true })
			cancel()
		}
	}})
	root := e.url("https")
	root.Path = "/v2/"
	req, err := http.NewRequestWithContext(asked, http.MethodGet, root.String(), nil)
	if err != nil {
		return "http", false
	}
	resp, err := e.base.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
		return "https", true
	}
	spoke.Do(func() {})
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case https, errors.As(err, &cert), errors.As(err, &op) && strings.HasSuffix(op.Op, " error"): // a TLS alert, local or remote
		return "https", true
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record), isCut(err), asked.Err() != nil && ctx.Err() == nil:
		return "http", true
	}
	// Nothing listens there, or ctx has ended.
	return "http", false
}

// repository returns oras' client of a repository whose name was checked.
func (e *endpoint) repository(ctx context.Context, name string) *remote.Repository {
	return &remote.Repository{
		Client:               e.client,
		Reference:            registry.Reference{Registry: e.host, Repository: name},
		PlainHTTP:            e.speaks(ctx) == "http",
		TagListMaxPages:      maxPages,
		ReferrerListMaxPages: maxPages,
		SkipReferrersGC:      true, // many registries delete nothing
		MaxMetadataBytes:     maxList,
	}
}

// root returns oras' client of the registry as a whole.
func (e *endpoint) root(ctx context.Context) *remote.Registry {
	return &remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client:           e.client,
		Reference:        registry.Reference{Registry: e.host},
		PlainHTTP:        e.speaks(ctx) == "http",
		MaxMetadataBytes: maxList,
	}}
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
