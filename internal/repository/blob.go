package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/distribution"
)

// has tells whether a blob is in a repository, and whether that is because it
// waits there for its manifest.
func (v view) has(ctx context.Context, repo string, d digest.Digest) (has, waits bool, err error) {
	names, err := v.names(repo)
	if err != nil {
		return false, false, nil // there is no such repository
	}
	waits = v.claimed(claimKey{names[0], d})
	records, err := v.records(ctx, repo)
	if err != nil {
		return false, waits, err
	}
	r, err := v.reach(ctx, repo, records, d, true)
	if err != nil {
		return false, waits, err
	}
	return r.has(d), waits, nil
}

// Blob implements distribution.Store.
func (v view) Blob(ctx context.Context, repo string, d digest.Digest) (distribution.Blob, error) {
	has, waits, err := v.has(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	if !has && !waits {
		return nil, notFound(d)
	}
	return v.e.Client.ContentStore().ReaderAt(ctx, ocispec.Descriptor{Digest: d})
}

func notFound(what any) error { return fmt.Errorf("%v: %w", what, errdefs.ErrNotFound) }

// DeleteBlob implements distribution.Store.
func (v view) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	has, waits, err := v.has(ctx, repo, d)
	switch {
	case err != nil:
		return err
	case has:
		return refused(fmt.Errorf("%s is part of an image in %s, which has to be deleted instead", d, repo))
	case !waits:
		return notFound(d)
	}
	names, err := v.names(repo)
	if err != nil {
		return err
	}
	return v.drop(claimKey{names[0], d}, nil)
}

// Mount implements distribution.Store.
func (v view) Mount(ctx context.Context, repo, from string, d digest.Digest) error {
	names, err := v.names(repo)
	if err != nil {
		return err
	}
	if from != "" {
		if has, waits, err := v.has(ctx, from, d); err != nil {
			return err
		} else if !has && !waits {
			return notFound(d)
		}
	}
	h, err := v.hold(ctx)
	if err != nil {
		return err
	}
	err = v.e.HoldContent(h.ctx, d)
	if err == nil {
		_, err = v.e.Client.ContentStore().Info(ctx, d)
	}
	if err != nil {
		return errors.Join(err, h.Close())
	}
	return v.claim(claimKey{names[0], d}, h)
}

// ingest is a blob on its way into the content store.
type ingest struct {
	v    view
	h    *hold // nil when it has ended
	ref  string
	w    content.Writer
	size int64
}

// Ingest implements distribution.Store.
func (v view) Ingest(ctx context.Context) (distribution.Ingest, error) {
	h, err := v.hold(ctx)
	if err != nil {
		return nil, err
	}
	i := &ingest{v: v, h: h, ref: "ctor-registry-" + rand.Text()}
	if i.w, err = v.e.Client.ContentStore().Writer(h.ctx, content.WithRef(i.ref)); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.before = i.abort
	return i, nil
}

// abort removes what was written. The end of the lease would as well, but not
// the files of a content store that never had a blob (containerd 2.4.2).
func (i *ingest) abort() error {
	ctx, cancel := i.v.e.Cleanup(i.h.ctx)
	defer cancel()
	err := i.v.e.Client.ContentStore().Abort(ctx, i.ref)
	if errdefs.IsNotFound(err) {
		err = nil
	}
	return errors.Join(i.w.Close(), err)
}

// Write implements io.Writer.
func (i *ingest) Write(p []byte) (int, error) {
	n, err := i.w.Write(p)
	i.size += int64(n)
	return n, err
}

// Size implements distribution.Ingest.
func (i *ingest) Size() int64 { return i.size }

// Restart implements distribution.Ingest.
func (i *ingest) Restart() error {
	i.size = 0
	return i.w.Truncate(0)
}

// Commit implements distribution.Ingest. The blob then waits for its manifest,
// by the hold that the ingest had.
func (i *ingest) Commit(_ context.Context, repo string, d digest.Digest) error {
	names, err := i.v.names(repo)
	if err != nil {
		return errors.Join(err, i.Close())
	}
	switch err = i.w.Commit(i.h.ctx, i.size, d); {
	case errdefs.IsAlreadyExists(err):
		err = nil
	case errdefs.IsFailedPrecondition(err): // its digest is another
		err = fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return errors.Join(err, i.Close())
	}
	h := i.h
	i.h, h.before = nil, nil
	return i.v.claim(claimKey{names[0], d}, h)
}

// Close implements distribution.Ingest.
func (i *ingest) Close() error {
	if i.h == nil {
		return nil
	}
	return i.h.Close()
}
