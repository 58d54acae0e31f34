package registry

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/ctorhq/ctor/internal/reference"
)

// Resolve returns media type, digest and size of the manifest that ref names,
// which is a HEAD request: on Docker Hub it does not count as a pull.
//
// A ref is "repo:tag" or "repo@digest", or a full reference on this host.
// The tag "latest" may be left out; where there are both, the digest counts.
// What Resolve returns is what the registry says: only the digest of the
// content that Fetch reads can confirm it.
//
// The error is of class ErrNotFound if there is no such manifest,
// ErrInvalidArgument if ref can't be one, ErrOutOfRange if the manifest is
// larger than 4 MiB, and ErrNotImplemented if it is not one of OCI or of
// Docker's second schema. See the package comment for the others.
func (r *Registry) Resolve(ctx context.Context, ref string) (ocispec.Descriptor, error) {
	const op = "resolve"
	name, err := reference.ParseOn(r.host, ref)
	if err != nil {
		return ocispec.Descriptor{}, r.failed(ctx, op, "", err)
	}
	return read(ctx, r, op, name, func(e *endpoint) (ocispec.Descriptor, error) {
		d, err := e.describe(ctx, name)
		if err == nil {
			err = checkManifest(d)
		}
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		return d, nil
	})
}

// target is what the URL of a manifest ends in.
func target(ref reference.Reference) string {
	if ref.Digest != "" {
		return ref.Digest.String()
	}
	return ref.Tag
}

// Exists reports whether the registry itself, not a mirror, has the manifest
// or blob that d describes in repo.
func (r *Registry) Exists(ctx context.Context, repo string, d ocispec.Descriptor) (bool, error) {
	const op = "look for"
	name, err := r.content(repo, d)
	if err != nil {
		return false, r.failed(ctx, op, "", err)
	}
	ok, err := r.origin.repository(ctx, name.Repository).Exists(ctx, d)
	return ok, r.failed(ctx, op, name.Name(), err)
}

// content checks a repository's name and a descriptor before either is made
// part of a URL or of a size to allocate.
func (r *Registry) content(repo string, d ocispec.Descriptor) (reference.Reference, error) {
	name, err := r.repository(repo)
	if err != nil {
		return name, err
	}
	if err := d.Digest.Validate(); err != nil {
		return name, fmt.Errorf("digest %.80q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	if d.Size < 0 {
		return name, fmt.Errorf("%s: negative size %d: %w", d.Digest, d.Size, errdefs.ErrInvalidArgument)
	}
	if isManifest(d.MediaType) {
		if err := checkManifest(d); err != nil {
			return name, err
		}
	}
	name.Digest = d.Digest
	return name, nil
}

// checkManifest refuses what no manifest is.
func checkManifest(d ocispec.Descriptor) error {
	if !isManifest(d.MediaType) {
		return fmt.Errorf("%.80q is no media type of a manifest that is supported: %w", d.MediaType, errdef.ErrUnsupported)
	}
	if d.Size > maxManifest {
		return tooLarge(d.Size)
	}
	return nil
}

// isManifest tells manifests from blobs, which live under different paths.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		dockerManifest, dockerList:
		return true
	}
	return false
}

func tooLarge(n int64) error {
	return fmt.Errorf("manifest of %d bytes is larger than %d: %w", n, maxManifest, errdef.ErrSizeExceedsLimit)
}
