package repository

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/distribution"
	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/reference"
)

// Repositories implements distribution.Store.
func (v view) Repositories(ctx context.Context) (list []string, err error) {
	all, err := v.e.Client.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if r, err := reference.Parse(i.Name); err == nil {
			if repo := v.repository(r); repo != "" {
				list = append(list, repo)
			}
		}
	}
	return list, nil
}

// Tags implements distribution.Store.
func (v view) Tags(ctx context.Context, repo string) (list []string, err error) {
	records, err := v.records(ctx, repo)
	if err != nil {
		return nil, err
	}
	names, err := v.names(repo)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 && !v.waiting(names[0]) {
		return nil, notFound(repo)
	}
	for _, r := range records {
		if r.tag != "" {
			list = append(list, r.tag)
		}
	}
	return list, nil
}

// find gives what a tag or a digest means in a repository.
func (v view) find(ctx context.Context, repo, ref string) (ocispec.Descriptor, error) {
	records, err := v.records(ctx, repo)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, r := range records {
		if r.tag == ref || r.target.Digest.String() == ref {
			return r.target, nil
		}
	}
	d := digest.Digest(ref)
	if d.Validate() != nil {
		return ocispec.Descriptor{}, notFound(ref)
	}
	r, err := v.reach(ctx, repo, records, d, true)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	mediaType, ok := r.manifests[d]
	if !ok {
		return ocispec.Descriptor{}, notFound(ref)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d}, nil
}

// Manifest implements distribution.Store.
func (v view) Manifest(ctx context.Context, repo, ref string) (m distribution.Manifest, err error) {
	d, err := v.find(ctx, repo, ref)
	if err != nil {
		return m, err
	}
	b, err := v.body(ctx, d.Digest)
	if err == nil && packing.Lacks(b) {
		return m, fmt.Errorf("a layer of it is a fork's and is not packed: push it with image.Push: %w", notFound(ref))
	}
	return distribution.Manifest{MediaType: d.MediaType, Digest: d.Digest, Body: b}, err
}

// Referrers implements distribution.Store.
func (v view) Referrers(ctx context.Context, repo string, subject digest.Digest) (list []distribution.Manifest, err error) {
	records, err := v.records(ctx, repo)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := v.reach(ctx, repo, records, "", true)
	if err != nil {
		return nil, err
	}
	for d, mediaType := range r.manifests {
		k, err := v.family(ctx, d)
		if err != nil {
			return nil, err
		}
		if k.subject != subject {
			continue
		}
		b, err := v.body(ctx, d)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, distribution.Manifest{MediaType: mediaType, Digest: d, Body: b})
	}
	return list, nil
}
