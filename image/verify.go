package image

import (
	"context"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/registry"
)

// Verification is an image that a [PullOptions].Verify decides on: what it is, and
// where to look for what is said about it. A digest is as good as the image itself:
// what is pulled after it is that image, or an error.
type Verification struct {
	Ref        string             // the image's full name
	Index      digest.Digest      // what the name stands for, as Image.Index
	Digest     digest.Digest      // the manifest for the platform, as Image.Digest; Index, if the image has no other
	Registry   *registry.Registry // where it is from
	Repository string             // its name there: "library/alpine"
}

// Referrers lists what is published about the image, such as signatures and bills of
// materials, of one artifact type, or of all if that is empty: what is about Index,
// then what is about Digest, if that is another. Read it with the Registry's
// [registry.Registry.Read] and [registry.Registry.Files]. Whoever may push to the
// repository can publish it: it is worth what its signature is.
//
// Signatures that cosign keeps under a tag are found by the Registry's Resolve of
// Repository + ":sha256-HEX.sig".
func (v Verification) Referrers(ctx context.Context, artifactType string) iter.Seq2[ocispec.Descriptor, error] {
	return func(yield func(ocispec.Descriptor, error) bool) {
		subjects := []digest.Digest{v.Index, v.Digest}
		if v.Index == v.Digest {
			subjects = subjects[:1]
		}
		for _, s := range subjects {
			for d, err := range v.Registry.Referrers(ctx, v.Repository+"@"+s.String(), artifactType) {
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
	}
}

// pass asks whether an image may be given.
func (p *puller) pass(ctx context.Context, target, manifest ocispec.Descriptor) error {
	if p.verify == nil {
		return nil
	}
	err := p.verify(ctx, Verification{
		Ref: p.ref.String(), Index: target.Digest, Digest: manifest.Digest, Registry: p.from, Repository: p.ref.Repository,
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", target.Digest, err)
	}
	return nil
}

// passed gives an image of the store, if it may be given.
func (p *puller) passed(ctx context.Context, i *Image, err error) (*Image, error) {
	if err != nil {
		return nil, err
	}
	if err := p.pass(ctx, i.target, i.manifest); err != nil {
		return nil, blame(err)
	}
	return i, nil
}
