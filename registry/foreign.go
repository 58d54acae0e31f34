package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxURLs bounds how many of a layer's URLs are asked.
const maxURLs = 10

// foreign asks for a layer at its URLs, which an image's manifest says and
// which may lead anywhere: no credentials are sent, and none is asked that is
// in a network that the registry is not in. missing is what the registry said.
func (r *Registry) foreign(ctx context.Context, d ocispec.Descriptor, at int64, missing error) (io.ReadCloser, error) {
	registry := r.origin.url(r.origin.speaks(ctx))
	h := *r.origin.client.http
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		return checkForeign(ctx, req.URL, registry)
	}
	c := client{e: r.origin, http: &h, agent: r.origin.client.agent}
	errs := []error{missing}
	for _, s := range d.URLs[:min(len(d.URLs), maxURLs)] {
		u, err := url.Parse(s)
		if err == nil {
			u.User = nil
			err = checkForeign(ctx, u, registry)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the layer's URL: %w", err))
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		rc, err := openAt(c.send, req, d, at)
		if err == nil {
			return rc, nil
		}
		errs = append(errs, r.failed(ctx, "fetch from "+u.Host, d.Digest.String(), err))
	}
	return nil, errors.Join(errs...)
}

func checkForeign(ctx context.Context, u, registry *url.URL) error {
	if u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("scheme %.20q is not https", u.Scheme)
	}
	return checkReach(ctx, u, registry)
}
