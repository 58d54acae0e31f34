package image

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
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
	PullNever                 // never: what the store does not have is ctor.ErrNotFound
)

// PullOptions change how Pull works. nil is the zero value.
type PullOptions struct {
	// Policy is PullMissing unless set.
	Policy Policy

	// Platform is one of the image's, such as "linux/arm64". "" means this
	// machine's. An image for another platform can't be run here, but it can be
	// read, derived and pushed.
	Platform string

	// Registry says how to reach it. nil means as `docker login` left it.
	Registry *registry.Options

	// Progress is told how the layers get on, by one goroutine at a time. Pull
	// waits for it. nil means no reports.
	Progress func(Progress)
}

// Pull gets an image from its registry, unless the store has it. Everything
// that arrives is checked against its digest and size, and layers are unpacked
// while they arrive.
//
// If a pull is cut off, by ctx, by the registry or by the end of the program, what
// has arrived stays in the store for a day, and the next pull of the same ref asks
// only for the rest. Of an image that is refused nothing stays.
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
		if o.Policy == PullNever || err == nil && i.usable(ctx) || err != nil && !errdefs.IsNotFound(err) {
			return i, engine.Cause(ctx, err)
		}
	}
	p := puller{e: e, in: engine.Of(e), ref: r, want: want, native: native, report: newReport(o.Progress)}
	if p.from, err = registry.New(r.Host, o.Registry); err != nil {
		return nil, err
	}
	i, err := p.pull(ctx)
	return i, engine.Cause(ctx, refused(err))
}

// refused is blame for a registry's content. Its ErrOutOfRange and
// ErrNotImplemented mean manifests that can't be an image's.
func refused(err error) error {
	if errdefs.IsOutOfRange(err) || errdefs.IsNotImplemented(err) {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return blame(err)
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
	bytes  atomic.Int64 // that have arrived of layers

	mu   sync.Mutex
	refs []string // of ingests
}

func (p *puller) pull(ctx context.Context) (_ *Image, err error) {
	target, err := p.from.Resolve(ctx, p.ref.String())
	if err != nil {
		return nil, err
	}
	ctx, release, err := p.in.PullLease(ctx, p.ref.String(), p.worthwhile)
	if err != nil {
		return nil, err
	}
	defer release(&err)
	defer func() {
		if err != nil && !p.worthwhile(err) {
			p.abort(ctx)
		}
	}()
	if err := p.fetchAll(ctx, target); err != nil {
		return nil, err
	}
	i, err := load(ctx, p.e, p.ref, target, p.want)
	if err != nil {
		return nil, err
	}
	if err := i.whole(ctx); err != nil {
		return nil, err
	}
	if p.native {
		if err := p.in.Verify(ctx, i.source()); err != nil {
			return nil, err
		}
	}
	if err := name(ctx, p.in, p.ref, i.target); err != nil {
		return nil, err
	}
	p.report.complete(i.parts.Layers...)
	return i, nil
}

// worthwhile tells of the error of a pull whether another one may need what has
// arrived: it was cut off, rather than refused.
func (p *puller) worthwhile(err error) bool {
	err = refused(err)
	return p.bytes.Load() > 0 && !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err)
}

// fetchAll brings the image into the content store, and its layers, where
// they can be of use, into the snapshotter, while others are still on the way.
func (p *puller) fetchAll(ctx context.Context, target ocispec.Descriptor) error {
	parts, err := p.documents(ctx, target)
	if err != nil {
		return err
	}
	config, layers := parts[0], parts[1:]
	for n := range layers {
		layers[n].Annotations = nil // a stranger has written them
	}
	if !p.native {
		return images.Dispatch(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			return nil, p.fetch(ctx, d, nil)
		}), semaphore.NewWeighted(engine.Concurrent), layers...)
	}
	var image struct{ RootFS ocispec.RootFS }
	if err := readJSON(ctx, p.in.Client.ContentStore(), config, &image); err != nil {
		return err
	}
	return p.in.Lay(ctx, engine.Layers{
		Blobs: layers, DiffIDs: image.RootFS.DiffIDs, Config: config.Digest,
		Fetch: p.fetch, Progress: p.report.extracted,
	})
}

// documents fetches the image's manifest, what leads to it, and the configuration,
// and gives what the manifest lists.
func (p *puller) documents(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	cs := p.in.Client.ContentStore()
	// All that is listed is linked, or one platform's pull would unlink
	// another's; only one platform is followed.
	link := images.SetChildrenLabels(cs, func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return children(ctx, cs, d)
	})
	for depth := 0; ; depth++ {
		manifest := images.IsManifestType(d.MediaType)
		if !manifest && depth >= maxNesting {
			return nil, errNested
		}
		if !manifest && !images.IsIndexType(d.MediaType) {
			return nil, notImage(d)
		}
		if err := p.fetch(ctx, d, nil); err != nil {
			return nil, err
		}
		list, err := link(ctx, d)
		if err != nil {
			return nil, err
		}
		if manifest {
			if err := checkTypes(list[0], list[1:]); err != nil {
				return nil, err
			}
			return list, p.fetch(ctx, list[0], nil)
		}
		if list, err = choose(list, p.want); err != nil {
			return nil, err
		}
		d = list[0]
	}
}

// fetch brings one blob into the content store, and passes on what arrives.
func (p *puller) fetch(ctx context.Context, d ocispec.Descriptor, to *engine.Tap) error {
	if err := acceptable(d); err != nil {
		return err
	}
	layer := images.IsLayerType(d.MediaType)
	if layer {
		p.report.say(d, Waiting, 0)
	}
	// One registry must not affect what is pulled from another. The image says
	// how long a blob is.
	turn, err := p.in.Take(ctx, fmt.Sprintf("fetch %s %d from %s", d.Digest, d.Size, p.from), engine.Patience)
	if err != nil {
		return err
	}
	defer turn.End()
	err = p.ingest(ctx, d, func(at int64, b []byte) {
		turn.Advance(len(b))
		if layer {
			p.bytes.Add(int64(len(b)))
			p.report.say(d, Fetching, min(at+int64(len(b)), d.Size))
		}
		to.Pass(at, b)
	})
	there := errdefs.IsAlreadyExists(err)
	if err != nil && !there {
		if there = p.brought(ctx, d); !there {
			return other(err)
		}
	}
	if layer && there {
		p.report.say(d, Exists, d.Size)
	} else if layer {
		p.report.say(d, Fetched, d.Size)
	}
	return nil
}

// other gives the store's error on content that has another digest or size than
// it must have its class.
func other(err error) error {
	if errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("%w: %w", err, registry.ErrDigest)
	}
	return err
}

// brought tells whether another pull has brought a blob meanwhile.
func (p *puller) brought(ctx context.Context, d ocispec.Descriptor) bool {
	if p.in.HoldContent(ctx, d.Digest) != nil {
		return false
	}
	_, err := p.in.Client.ContentStore().Info(ctx, d.Digest)
	return err == nil
}
