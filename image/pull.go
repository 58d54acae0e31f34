package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/registry"
)

// Policy says when Pull asks the registry.
type Policy int

// The policies.
const (
	PullMissing Policy = iota // only if the store does not have the image
	PullAlways                // always; layers that are there are not fetched again
	PullNever                 // never: Pull is Get
)

// PullOptions change how Pull works. nil is the zero value.
type PullOptions struct {
	// Policy is PullMissing unless set.
	Policy Policy

	// Platform is one of the image's, such as "linux/arm64". "" means this
	// machine's. An image for another platform can't be run here, but be
	// read, derived and pushed.
	Platform string

	// Registry says how to reach it. nil means as `docker login` left it.
	Registry *registry.Options

	// Progress is told how the layers get on, by one goroutine at a time.
	// Pull waits for it. nil is nobody.
	Progress func(Progress)
}

// concurrent is how many blobs of an image are fetched at a time, and how many
// connections that takes.
const concurrent = 4

// Pull gets an image from its registry, unless the store has it. Everything
// that arrives is checked against its digest and size. If it fails, nothing
// stays.
//
// Errors are ctor.ErrInvalid for a ref that can't be read and for content that
// is not what it must be, ctor.ErrNotFound where there is no such image, or
// none for the platform, and ctor.ErrUnavailable where the registry can't be
// reached.
func Pull(ctx context.Context, e *ctor.Engine, ref string, o *PullOptions) (_ *Image, err error) {
	defer wrap(&err, "pull image", ref)
	if o == nil {
		o = &PullOptions{}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	want, native := platforms.Default(), true
	if o.Platform != "" {
		p, err := platforms.Parse(o.Platform)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w: %w", o.Platform, err, errdefs.ErrInvalidArgument)
		}
		want, native = platforms.Only(p), platforms.Default().Match(p)
	}
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if o.Policy != PullAlways {
		i, err := get(ctx, e, r, want)
		if err == nil || o.Policy == PullNever || !errdefs.IsNotFound(err) {
			return i, engine.Cause(ctx, err)
		}
	}
	p := puller{e: e, in: engine.Of(e), ref: r, want: want, native: native, report: newReport(o.Progress)}
	if p.from, err = registry.New(r.Host, o.Registry); err != nil {
		return nil, err
	}
	i, err := p.pull(ctx)
	if err != nil {
		return nil, engine.Cause(ctx, hostile(err))
	}
	return i, nil
}

// puller gets one image.
type puller struct {
	e      *ctor.Engine
	in     *engine.Engine
	ref    reference.Reference
	from   *registry.Registry
	want   platforms.MatchComparer
	native bool // want is this machine's
	report *report
}

func (p *puller) pull(ctx context.Context) (_ *Image, err error) {
	target, err := p.from.Resolve(ctx, p.ref.String())
	if err != nil {
		return nil, err
	}
	ctx, release, err := p.in.Lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release(&err)
	if err := p.fetchAll(ctx, target); err != nil {
		return nil, err
	}
	i, err := load(ctx, p.e, p.ref, target, p.want)
	if err != nil {
		return nil, err
	}
	if err := store(ctx, p.in, p.ref, target); err != nil {
		return nil, err
	}
	p.report.complete(i.layers)
	return i, nil
}

// fetchAll brings the image into the content store, and its layers, where
// they can be of use, into the snapshotter, while others are still on the way.
func (p *puller) fetchAll(ctx context.Context, target ocispec.Descriptor) error {
	cs := p.in.Client.ContentStore()
	limit := semaphore.NewWeighted(concurrent)
	children := images.FilterPlatforms(images.ChildrenHandler(cs), p.want)
	children = images.LimitManifests(children, p.want, 1)
	var handler images.Handler = images.Handlers(
		images.HandlerFunc(p.fetch),
		images.SetChildrenMappedLabels(cs, images.HandlerFunc(bounded(children)), nil),
	)
	if !p.native {
		return images.Dispatch(ctx, handler, limit, target)
	}
	u, err := unpack.NewUnpacker(ctx, cs, unpack.WithLimiter(limit), unpack.WithFetchAllContent(), unpack.WithUnpackPlatform(unpack.Platform{
		Platform:       p.want,
		SnapshotterKey: p.in.Snapshotter,
		Snapshotter:    p.in.Client.SnapshotService(p.in.Snapshotter),
		Applier:        p.in.Client.DiffService(),
		ApplyOpts:      []diff.ApplyOpt{diff.WithProgress(p.report.extracted)},
	}))
	if err != nil {
		return err
	}
	err = images.Dispatch(ctx, u.Unpack(handler), limit, target)
	// Also after an error: what is under way must have ended.
	if _, uerr := u.Wait(); err == nil {
		err = uerr
	}
	return err
}

// fetch brings one blob into the content store.
func (p *puller) fetch(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if err := acceptable(d); err != nil {
		return nil, err
	}
	from := remotes.FetcherFunc(func(ctx context.Context, d ocispec.Descriptor) (rc io.ReadCloser, err error) {
		rc, err = p.from.Fetch(ctx, p.ref.Repository, d)
		if err == nil && images.IsLayerType(d.MediaType) {
			rc = p.report.fetching(d, rc)
		}
		return rc, err
	})
	if images.IsLayerType(d.MediaType) {
		p.report.waiting(d)
	}
	err := remotes.Fetch(ctx, p.in.Client.ContentStore(), from, d)
	switch {
	case errdefs.IsAlreadyExists(err):
		err = nil
		if images.IsLayerType(d.MediaType) {
			p.report.exists(d)
		}
	case err == nil && images.IsLayerType(d.MediaType):
		p.report.fetched(d)
	}
	return nil, err
}

// acceptable refuses what no image has.
func acceptable(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	if d.Size < 0 || !images.IsLayerType(d.MediaType) && d.Size > maxConfig {
		return fmt.Errorf("%s %s has %d bytes: %w", d.MediaType, d.Digest, d.Size, errdefs.ErrInvalidArgument)
	}
	if d.MediaType == images.MediaTypeDockerSchema1Manifest {
		return fmt.Errorf("the image is of Docker's schema 1, which nothing supports any more: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

// maxChildren bounds what one index or manifest may list: an index of every
// platform there is has some dozens, and overlayfs mounts 500 layers at most.
const maxChildren = 1000

func bounded(h images.HandlerFunc) images.HandlerFunc {
	return func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		c, err := h(ctx, d)
		if len(c) > maxChildren {
			return nil, fmt.Errorf("%s lists %d parts: %w", d.Digest, len(c), errdefs.ErrInvalidArgument)
		}
		return c, err
	}
}

// hostile gives content that is not what its descriptor says its class.
func hostile(err error) error {
	if errors.Is(err, content.ErrReset) || errdefs.IsFailedPrecondition(err) || errdefs.IsDataLoss(err) {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return err
}
