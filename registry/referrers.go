package registry

import (
	"context"
	"fmt"
	"iter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
	repo := r.origin.repository(name.Repository)
	list := func(page func([]ocispec.Descriptor) error) error {
		subject := ocispec.Descriptor{Digest: name.Digest}
		if subject.Digest == "" {
			var err error
			if subject, err = head(ctx, repo, name.Tag); err != nil {
				return err
			}
		}
		return repo.Referrers(ctx, subject, artifactType, page)
	}
	return pages(ctx, r, op, name.Name(), list, func(d ocispec.Descriptor) (string, error) {
		if d.Digest.Validate() != nil || d.Size < 0 {
			return "", fmt.Errorf("the registry lists %.200q, which is no digest", d.Digest)
		}
		return d.Digest.String(), nil
	})
}
