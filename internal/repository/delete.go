package repository

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
)

// DeleteManifest implements distribution.Store.
func (v view) DeleteManifest(ctx context.Context, repo, ref string) error {
	names, err := v.names(repo)
	if err != nil {
		return notFound(repo)
	}
	unlock, err := v.lock(ctx, names[0])
	if err != nil {
		return err
	}
	defer unlock()
	d, err := v.find(ctx, repo, ref)
	if err != nil {
		return err
	}
	records, err := v.records(ctx, repo)
	if err != nil {
		return err
	}
	if ref != d.Digest.String() {
		return v.untag(ctx, repo, names[0], records, ref)
	}
	var others []record
	for _, r := range records {
		if r.target.Digest != d.Digest {
			others = append(others, r)
		}
	}
	r, err := v.reach(ctx, repo, others, d.Digest, false)
	if err != nil {
		return err
	}
	if r.has(d.Digest) {
		return refused(fmt.Errorf("%s is listed by another manifest in %s, which has to be deleted first", d.Digest, repo))
	}
	return v.forget(ctx, names[0], records, d.Digest)
}

// untag takes a tag away.
func (v view) untag(ctx context.Context, repo, name string, records []record, tag string) error {
	if err := v.leave(ctx, repo, name, records, tag, ""); err != nil {
		return err
	}
	for _, r := range records {
		if r.tag != tag {
			continue
		}
		if err := v.remove(ctx, r.name); err != nil {
			return err
		}
	}
	return nil
}

// forget takes all names of a manifest away, and its ties.
func (v view) forget(ctx context.Context, name string, records []record, d digest.Digest) error {
	k, err := v.family(ctx, d)
	if err != nil {
		return err
	}
	if k.subject != "" {
		if err := v.untie(ctx, name, k.subject, d); err != nil {
			return err
		}
	}
	about, err := v.linked(ctx, name, d)
	if err != nil {
		return err
	}
	for _, a := range about {
		if err := v.untie(ctx, name, d, a.Digest); err != nil {
			return err
		}
	}
	for _, r := range records {
		if r.target.Digest == d {
			if err := v.remove(ctx, r.name, images.SynchronousDelete()); err != nil {
				return err
			}
		}
	}
	return nil
}
