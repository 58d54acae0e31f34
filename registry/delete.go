package registry

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
)

// Delete removes what ref names: "repo:tag" only the tag, "repo@digest" the
// manifest and with it all its tags. When the registry frees the blobs is its
// own affair.
//
// Many registries delete nothing, or no tags, and then the class of the error
// is ErrNotImplemented or ErrInvalidArgument; see [deleting tags] in the spec.
//
// [deleting tags]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#deleting-tags
func (r *Registry) Delete(ctx context.Context, ref string) error {
	const op = "delete"
	name, err := reference.ParseOn(r.host, ref)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	// Oras knows only digests, but all it does with one, for a descriptor
	// without a media type, is to end the URL with it. A tag does as well.
	d := ocispec.Descriptor{Digest: digest.Digest(target(name))}
	err = r.origin.repository(ctx, name.Repository).Manifests().Delete(ctx, d)
	return r.failed(ctx, op, name.Name(), err)
}
