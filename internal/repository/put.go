package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/distribution"
	"github.com/ctorhq/ctor/internal/packing"
)

// PutManifest implements distribution.Store.
func (v view) PutManifest(ctx context.Context, repo string, m distribution.Manifest, tags []string) (err error) {
	names, err := v.names(repo)
	if err != nil {
		return err
	}
	doc, err := distribution.Parse(m.Body)
	if err != nil {
		return err
	}
	if packing.Lacks(m.Body) {
		return packing.ErrFork
	}
	unlock, err := v.lock(ctx, names[0])
	if err != nil {
		return err
	}
	defer unlock()
	ctx, release, err := v.e.Lease(ctx)
	if err != nil {
		return err
	}
	defer release(&err)
	// From here on the lease keeps the manifest, and by its labels what it lists.
	if err := v.write(ctx, m, doc); err != nil {
		return err
	}
	p := put{view: v, repo: repo, name: names[0], m: m, doc: doc, tags: tags}
	if p.records, err = v.records(ctx, repo); err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	if err := p.keep(ctx); err != nil {
		return err
	}
	return p.settle(ctx)
}

// lock lets one change of a repository through at a time.
func (v view) lock(ctx context.Context, name string) (unlock func(), err error) {
	key := "repository " + name
	if err := v.e.Lock(ctx, key); err != nil {
		return nil, err
	}
	return func() { v.e.Unlock(key) }, nil
}

// write puts a manifest into the content store.
func (v view) write(ctx context.Context, m distribution.Manifest, doc *distribution.Document) error {
	cs := v.e.Client.ContentStore()
	labels := map[string]string{}
	var fields []string
	for n, d := range slices.Concat(doc.Blobs, doc.Manifests) {
		label := "containerd.io/gc.ref.content." + strconv.Itoa(n)
		labels[label] = d.Digest.String()
		fields = append(fields, "labels."+label)
	}
	if err := v.e.HoldContent(ctx, m.Digest); err != nil {
		return err
	}
	d := ocispec.Descriptor{Digest: m.Digest, Size: int64(len(m.Body))}
	if err := content.WriteBlob(ctx, cs, "ctor-manifest-"+m.Digest.String(), bytes.NewReader(m.Body), d, content.WithLabels(labels)); err != nil {
		return err
	}
	if len(fields) == 0 {
		return nil
	}
	// It may have been there before, as a blob that lists nothing.
	_, err := cs.Update(ctx, content.Info{Digest: m.Digest, Labels: labels}, fields...)
	return err
}

// put is one manifest that is being pushed.
type put struct {
	view
	repo, name string
	m          distribution.Manifest
	doc        *distribution.Document
	tags       []string
	records    []record // before
}

// check sees to it that the repository has what the manifest lists.
func (p *put) check(ctx context.Context) error {
	r, err := p.reach(ctx, p.repo, p.records, "", true)
	if err != nil {
		return err
	}
	for _, d := range p.doc.Blobs {
		here := r.has(d.Digest) || p.claimed(claimKey{p.name, d.Digest})
		if err := p.part(ctx, d, here); err != nil {
			return err
		}
	}
	for _, d := range p.doc.Manifests {
		_, here := r.manifests[d.Digest]
		if err := p.part(ctx, d, here); err != nil {
			return err
		}
	}
	return nil
}

// part checks one thing that is listed.
func (p *put) part(ctx context.Context, d ocispec.Descriptor, here bool) error {
	info, err := p.e.Client.ContentStore().Info(ctx, d.Digest)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	switch here = here && err == nil; {
	case here && info.Size != d.Size:
		return fmt.Errorf("%s has %d bytes, and not %d: %w", d.Digest, info.Size, d.Size, errdefs.ErrInvalidArgument)
	case !here && !distribution.Elsewhere(d):
		return distribution.Missing{Digest: d.Digest}
	}
	return nil
}

// keep gives the manifest its names, or lets it live with what it is about.
func (p *put) keep(ctx context.Context) error {
	target := p.m.Descriptor()
	about, err := p.attach(ctx)
	if err != nil {
		return err
	}
	if len(p.tags) == 0 && !about {
		return p.stand(ctx, p.name, target)
	}
	for _, tag := range p.tags {
		if err := p.leave(ctx, p.repo, p.name, p.records, tag, p.m.Digest); err != nil {
			return err
		}
		if err := p.tag(ctx, p.name, tag, target); err != nil {
			return err
		}
	}
	return nil
}

// leave is before a tag moves to another manifest, or goes: what it has meant is
// still to be had by its digest.
func (v view) leave(ctx context.Context, repo, name string, records []record, tag string, to digest.Digest) error {
	var others []record
	for _, r := range records {
		if r.tag != tag {
			others = append(others, r)
		}
	}
	for _, r := range records {
		if r.tag != tag || r.target.Digest == to {
			continue
		}
		found, err := v.reach(ctx, repo, others, r.target.Digest, true)
		if err == nil && !found.has(r.target.Digest) {
			err = v.stand(ctx, name, r.target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxLinks is how much there may be about a manifest.
const maxLinks = 1000

// attach ties the manifest to its subject, and tells whether that is there.
func (p *put) attach(ctx context.Context) (bool, error) {
	if p.doc.Subject == nil {
		return false, nil
	}
	subject := p.doc.Subject.Digest
	_, err := p.find(ctx, p.repo, subject.String())
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := p.linked(ctx, p.name, subject)
	if err != nil {
		return false, err
	}
	if len(list) >= maxLinks {
		return false, fmt.Errorf("%d manifests are about %s: %w", len(list), subject, errdefs.ErrResourceExhausted)
	}
	return true, p.tie(ctx, p.name, subject, p.m.Digest)
}

// settle takes away the names and claims of what lives with the manifest now.
func (p *put) settle(ctx context.Context) error {
	var errs []error
	listed := map[digest.Digest]bool{}
	for _, d := range slices.Concat(p.doc.Blobs, p.doc.Manifests) {
		listed[d.Digest] = true
		errs = append(errs, p.drop(claimKey{p.name, d.Digest}, nil))
	}
	records, err := p.view.records(ctx, p.repo)
	errs = append(errs, err)
	for _, r := range records {
		k, err := p.family(ctx, r.target.Digest)
		lives := listed[r.target.Digest] || r.target.Digest == p.m.Digest && len(p.tags) > 0
		if err == nil && k.subject == p.m.Digest {
			err, lives = p.tie(ctx, p.name, p.m.Digest, r.target.Digest), true
		}
		if err == nil && lives && r.stands {
			err = p.remove(ctx, r.name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
