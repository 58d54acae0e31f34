package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
)

// place is where an image is copied from or to: a name in a registry, or in an OCI
// layout.
type place interface {
	fmt.Stringer

	// resolve describes what the name stands for.
	resolve(ctx context.Context) (ocispec.Descriptor, error)
	// read gives a manifest, compared to its digest.
	read(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// open opens a blob, whose content is not compared yet.
	open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// referrers lists the manifests that are about one.
	referrers(ctx context.Context, d ocispec.Descriptor) iter.Seq2[ocispec.Descriptor, error]

	// tagged is another name beside this one.
	tagged(tag string) place

	// digest is what the name says that it stands for; "" if it doesn't say.
	digest() digest.Digest
	// has tells whether a blob is there.
	has(ctx context.Context, d ocispec.Descriptor) (bool, error)
	// put stores a blob that open opens, any number of times, in from.
	put(ctx context.Context, d ocispec.Descriptor, from place, open func() (io.ReadCloser, error)) error
	// putManifest stores a manifest by its digest. about tells that it is about
	// another, and to be found by that.
	putManifest(ctx context.Context, d ocispec.Descriptor, body []byte, about bool) error
	// name stores the manifest that the name is to stand for.
	name(ctx context.Context, d ocispec.Descriptor, body []byte) error

	io.Closer
}

// placeOf finds what a name given to Copy means. into tells that it is to be written
// to.
func placeOf(ctx context.Context, s string, o *Options, into bool) (place, error) {
	dir, ok := strings.CutPrefix(s, "oci:")
	if ok && (strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, ".")) {
		return layoutOf(ctx, dir, into)
	}
	ref, err := reference.Parse(s)
	if err != nil {
		return nil, err
	}
	r, err := New(ref.Host, o)
	return repository{r, ref}, err
}

// repository is a name in a registry.
type repository struct {
	r   *Registry
	ref reference.Reference
}

func (p repository) String() string        { return p.ref.String() }
func (p repository) digest() digest.Digest { return p.ref.Digest }
func (p repository) Close() error          { return nil }

func (p repository) tagged(tag string) place {
	p.ref.Tag, p.ref.Digest = tag, ""
	return p
}

func (p repository) by(d ocispec.Descriptor) string {
	return p.ref.Repository + "@" + d.Digest.String()
}

func (p repository) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	return p.r.Resolve(ctx, p.ref.String())
}

func (p repository) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	return p.r.read(ctx, p.ref.Repository, d)
}

func (p repository) open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return p.r.Fetch(ctx, p.ref.Repository, d)
}

func (p repository) referrers(ctx context.Context, d ocispec.Descriptor) iter.Seq2[ocispec.Descriptor, error] {
	return p.r.Referrers(ctx, p.by(d), "")
}

func (p repository) has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return p.r.Exists(ctx, p.ref.Repository, d)
}

// put mounts what another repository of the same registry has.
func (p repository) put(ctx context.Context, d ocispec.Descriptor, from place, open func() (io.ReadCloser, error)) error {
	if other, ok := from.(repository); ok && other.r.host == p.r.host &&
		p.r.Mount(ctx, p.ref.Repository, other.ref.Repository, d, open) == nil {
		return nil
	}
	return p.r.push(ctx, p.ref.Repository, d, open)
}

func (p repository) putManifest(ctx context.Context, d ocispec.Descriptor, body []byte, _ bool) error {
	return p.r.PushManifest(ctx, p.by(d), d, bytes.NewReader(body))
}

func (p repository) name(ctx context.Context, d ocispec.Descriptor, body []byte) error {
	return p.r.PushManifest(ctx, p.ref.String(), d, bytes.NewReader(body))
}
