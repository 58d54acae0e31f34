package registry

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
)

// Push uploads a blob, or a manifest by its digest, to repo; d.MediaType says
// which of the two it is. It doesn't ask first whether it is there: Exists
// does. The registry compares the content to d.Digest.
//
// A body that is a *bytes.Reader, *bytes.Buffer or *strings.Reader is sent
// again where [Options].Retries says so. Push does not close the body.
func (r *Registry) Push(ctx context.Context, repo string, d ocispec.Descriptor, body io.Reader) error {
	const op = "push"
	name, err := r.content(repo, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	err = r.origin.repository(name.Repository).Push(ctx, d, keepOpen(body))
	return r.failed(ctx, op, name.Name(), err)
}

// PushManifest uploads a manifest under the tag of ref, in one request. If
// ref has a digest instead, it must be d's.
func (r *Registry) PushManifest(ctx context.Context, ref string, d ocispec.Descriptor, body io.Reader) error {
	const op = "push"
	name, err := r.manifest(ref, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	under := name.Tag
	if under == "" {
		under = name.Digest.String()
	}
	err = r.origin.repository(name.Repository).PushReference(ctx, d, keepOpen(body), under)
	return r.failed(ctx, op, name.Name(), err)
}

// Tag gives the manifest that d describes, and that the repository has, the
// tag of ref. A tag that exists moves.
func (r *Registry) Tag(ctx context.Context, ref string, d ocispec.Descriptor) error {
	const op = "tag"
	name, err := r.manifest(ref, d)
	if err == nil && name.Tag == "" {
		err = fmt.Errorf("reference %q has no tag: %w", ref, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	err = r.origin.repository(name.Repository).Tag(ctx, d, name.Tag)
	return r.failed(ctx, op, name.Name(), err)
}

// Mount makes the blob that d describes in the repository from available in
// repo, without a transfer where the registry can do that. Where it can't,
// the blob is uploaded from what open returns, or, if open is nil, by way of
// this program from the repository from.
//
// Some registries refuse a mount with ErrPermissionDenied or
// ErrUnauthenticated when the user may not read from; Push is then the way.
func (r *Registry) Mount(ctx context.Context, repo, from string, d ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	const op = "mount"
	name, err := r.content(repo, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	source, err := r.repository(from)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	err = r.origin.repository(name.Repository).Mount(ctx, d, source.Repository, open)
	return r.failed(ctx, op, name.Name(), err)
}

// manifest checks a reference and the descriptor of a manifest.
func (r *Registry) manifest(ref string, d ocispec.Descriptor) (reference.Reference, error) {
	name, err := reference.ParseOn(r.host, ref)
	if err != nil {
		return name, err
	}
	if _, err := r.content(name.Repository, d); err != nil {
		return name, err
	}
	if err := checkManifest(d); err != nil {
		return name, err
	}
	if name.Digest != "" && name.Digest != d.Digest {
		return name, fmt.Errorf("reference %q has another digest than the manifest, %s: %w", ref, d.Digest, errdefs.ErrInvalidArgument)
	}
	return name, nil
}

// keepOpen hides a Close method, which net/http would call, from a request.
// A body without one is left as it is, since net/http knows some by type.
func keepOpen(body io.Reader) io.Reader {
	if c, ok := body.(io.Closer); ok {
		return struct{ io.Reader }{c.(io.Reader)}
	}
	return body
}
