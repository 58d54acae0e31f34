package repository

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/distribution"
)

// family is what a manifest lists. It never changes.
type family struct {
	mediaType string
	blobs     []ocispec.Descriptor
	manifests []ocispec.Descriptor
	subject   digest.Digest
}

// body reads a manifest.
func (s *store) body(ctx context.Context, d digest.Digest) ([]byte, error) {
	cs := s.e.Client.ContentStore()
	info, err := cs.Info(ctx, d)
	if err != nil {
		return nil, err
	}
	if info.Size > distribution.MaxManifest {
		return nil, refused(fmt.Errorf("%s has %d bytes, more than a manifest may have", d, info.Size))
	}
	return content.ReadBlob(ctx, cs, ocispec.Descriptor{Digest: d, Size: info.Size})
}

// family reads what a manifest lists. What can't be read lists nothing.
func (s *store) family(ctx context.Context, d digest.Digest) (family, error) {
	if k, ok := s.kin.Get(d); ok {
		return k, nil
	}
	b, err := s.body(ctx, d)
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		return family{}, nil
	}
	if err != nil {
		return family{}, err
	}
	doc, err := distribution.Parse(b)
	if err != nil {
		doc = &distribution.Document{}
	}
	k := family{mediaType: doc.Type(), blobs: plain(doc.Blobs), manifests: plain(doc.Manifests)}
	if doc.Subject != nil {
		k.subject = doc.Subject.Digest
	}
	s.kin.Put(d, k)
	return k, nil
}

// plain leaves out of descriptors what a stranger has written beside them.
func plain(list []ocispec.Descriptor) []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, 0, len(list))
	for _, d := range list {
		out = append(out, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	return out
}

// maxReach bounds what is followed from the names of one repository.
const maxReach = 200_000

// reach is what names lead to.
type reach struct {
	manifests map[digest.Digest]string // media types
	blobs     map[digest.Digest]struct{}
}

func (r *reach) has(d digest.Digest) bool {
	_, blob := r.blobs[d]
	_, manifest := r.manifests[d]
	return blob || manifest
}

// reach follows names to all that they lead to, or until it has found want.
// about tells whether to what is about a manifest as well.
func (v view) reach(ctx context.Context, repo string, from []record, want digest.Digest, about bool) (*reach, error) {
	names, err := v.names(repo)
	if err != nil {
		return nil, err
	}
	r := &reach{map[digest.Digest]string{}, map[digest.Digest]struct{}{}}
	var next []ocispec.Descriptor
	for _, rec := range from {
		next = append(next, rec.target)
	}
	for len(next) > 0 && (want == "" || !r.has(want)) {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		if _, seen := r.manifests[d.Digest]; seen {
			continue
		}
		r.manifests[d.Digest] = d.MediaType
		if len(r.manifests)+len(r.blobs) > maxReach {
			return nil, fmt.Errorf("%s has more than %d manifests and blobs: %w", repo, maxReach, errdefs.ErrResourceExhausted)
		}
		k, err := v.family(ctx, d.Digest)
		if err != nil {
			return nil, err
		}
		for _, b := range k.blobs {
			r.blobs[b.Digest] = struct{}{}
		}
		next = append(next, k.manifests...)
		if about {
			list, err := v.linked(ctx, names[0], d.Digest)
			if err != nil {
				return nil, err
			}
			next = append(next, list...)
		}
	}
	return r, nil
}
