package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

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
	return read(ctx, r, op, name, func(repo *remote.Repository) (ocispec.Descriptor, error) {
		d, err := head(ctx, repo, target(name))
		if err == nil {
			err = checkManifest(d)
		}
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		return d, nil
	})
}

// head asks for the headers of a manifest. Some registries don't say digest
// and length without a body, or don't know HEAD; the body then tells.
func head(ctx context.Context, repo *remote.Repository, name string) (ocispec.Descriptor, error) {
	d, err := repo.Resolve(ctx, name)
	if err == nil || ctx.Err() != nil {
		return d, err
	}
	if c := class(ctx, err); c != nil && !errors.Is(c, errdefs.ErrNotImplemented) {
		return d, err
	}
	d, body, err := repo.FetchReference(ctx, name)
	if err != nil {
		return d, err
	}
	return d, body.Close()
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
	ok, err := r.origin.repository(name.Repository).Exists(ctx, d)
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
		return fmt.Errorf("manifest of %d bytes is larger than %d: %w", d.Size, maxManifest, errdef.ErrSizeExceedsLimit)
	}
	return nil
}

// isManifest tells manifests from blobs, which live under different paths.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}
