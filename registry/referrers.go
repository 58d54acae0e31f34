package registry

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ctorhq/ctor/internal/reference"
)

// Referrers lists the manifests that say they are about the one ref names,
// such as signatures and bills of materials: those whose "subject" it is. If
// artifactType is not empty, only those of that type are listed. Registries
// without the [referrers API] are asked for the tag that stands in for it.
// An error ends the list and is the last thing it yields.
//
// [referrers API]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
func (r *Registry) Referrers(ctx context.Context, ref, artifactType string) iter.Seq2[ocispec.Descriptor, error] {
	const op = "list referrers of"
	name, err := reference.ParseOn(r.host, ref)
	if err != nil {
		return once[ocispec.Descriptor](r.failed(ctx, op, "", err))
	}
	list := func(ctx context.Context, page func([]ocispec.Descriptor) error) error {
		subject := ocispec.Descriptor{Digest: name.Digest}
		if subject.Digest == "" {
			var err error
			if subject, err = r.origin.describe(ctx, name); err != nil {
				return err
			}
		}
		return r.referrers(ctx, name.Repository, subject, artifactType, page)
	}
	return pages(ctx, r, op, name.Name(), list, func(d ocispec.Descriptor) (string, bool) {
		return d.Digest.String(), d.Digest.Validate() == nil && d.Size >= 0
	})
}

// referrers lists by the API, or else by the tag, of which only oras' own
// test for the API is 404. Others refuse what they don't know by 400, 405 or
// 406, or by 401 whatever is shown to them.
func (r *Registry) referrers(ctx context.Context, repo string, subject ocispec.Descriptor, artifactType string, page func([]ocispec.Descriptor) error) error {
	c := r.origin.repository(ctx, repo)
	paged := false
	err := c.Referrers(ctx, subject, artifactType, func(list []ocispec.Descriptor) error {
		paged = true
		return page(list)
	})
	var resp *errcode.ErrorResponse
	if paged || !errors.As(err, &resp) || !slices.Contains(noReferrers, resp.StatusCode) {
		return err
	}
	_ = c.SetReferrersCapability(false) // it was not known
	return c.Referrers(ctx, subject, artifactType, page)
}

var noReferrers = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
	http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
}
