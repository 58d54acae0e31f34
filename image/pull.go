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
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry"
)

// Policy says when Pull asks the registry.
type Policy int

// The policies.
const (
	PullMissing Policy = iota // only if the store does not have the image
	PullAlways                // always; layers that are there are not fetched again
	PullNever                 // never: what the store does not have is ctor.ErrNotFound

	// PullNewer asks always, and pulls if the name stands for something else by
	// now: what is newer is told by the digest, not by any time. Where the registry
	// can't be reached, doesn't let the program in or has no such image, the
	// store's image is given.
	PullNewer
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

	// Verify decides on the image when it is known by its digest, and before any
	// layer is fetched or unpacked. Its error fails the pull, and nothing stays. It
	// is asked about an image that the store has already, too, whatever the Policy:
	// Pull gives none that Verify has not let pass. nil lets every image pass.
	Verify func(ctx context.Context, v Verification) error

	// Limit bounds what each layer may unpack to. The zero value means the defaults,
	// which are also those of an image that is unpacked later, as after Import, or for
	// another platform.
	Limit layer.Limits
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
// is not what it must be, or unpacks to more than [PullOptions].Limit allows,
// ctor.ErrNotFound where there is no such image, or none for the platform, and
// ctor.ErrUnavailable where the registry can't be reached. An error of Verify without a class is ctor.ErrInvalid as well.
func Pull(ctx context.Context, e *ctor.Engine, ref string, o *PullOptions) (_ *Image, err error) {
	defer wrap(&err, "pull image", ref)
	if o == nil {
		o = &PullOptions{}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	limits := rootfs.Limits(o.Limit)
	if err := limits.Check(); err != nil {
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
	p := puller{e: e, in: engine.Of(e), ref: r, want: want, native: native, limits: limits, report: newReport(o.Progress), verify: o.Verify}
	if p.from, err = registry.New(r.Host, o.Registry); err != nil {
		return nil, err
	}
	i, err := p.run(ctx, o.Policy)
	return i, engine.Cause(ctx, err)
}

// run gives the image by way of a policy.
func (p *puller) run(ctx context.Context, policy Policy) (*Image, error) {
	var there *Image // in the store, with all that it needs
	if policy != PullAlways {
		i, err := get(ctx, p.e, p.ref, p.want)
		if policy == PullNever || err == nil && policy == PullMissing && i.usable(ctx) {
			return p.passed(ctx, i, err)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if err == nil && i.usable(ctx) {
			there = i
		}
	}
	target, err := p.from.Resolve(ctx, p.ref.String())
	if err == nil && there != nil && target.Digest == there.target.Digest {
		return p.passed(ctx, there, nil)
	}
	var i *Image
	if err == nil {
		i, err = p.pull(ctx, target)
	}
	if err = refused(err); err != nil && there != nil && ctx.Err() == nil && unasked(err) {
		return p.passed(ctx, there, nil)
	}
	return i, err
}

// unasked tells of the error of a registry that there is nothing newer to be had of
// it, as far as can be told.
func unasked(err error) bool {
	return errdefs.IsUnavailable(err) || errdefs.IsNotFound(err) || errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err)
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
	limits rootfs.Limits
	report *report
	verify func(context.Context, Verification) error
	bytes  atomic.Int64 // that have arrived of layers

	mu   sync.Mutex
	refs []string // of ingests
}

func (p *puller) pull(ctx context.Context, target ocispec.Descriptor) (_ *Image, err error) {
	ctx, end := span.Begin(ctx, "pull", span.Image.String(p.ref.String()))
	defer end(&err)
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
	fetched, err := p.fetchAll(ctx, target)
	if err != nil {
		return nil, err
	}
	i, err := load(ctx, p.e, p.ref, target, p.want)
	if err != nil {
		return nil, err
	}
	if i.manifest.Digest != fetched.Digest { // another that the store has, since that one is not what it seemed
		if err := p.pass(ctx, target, i.manifest); err != nil {
			return nil, err
		}
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
// they can be of use, into the snapshotter, while others are still on the way. It gives
// the image's manifest.
func (p *puller) fetchAll(ctx context.Context, target ocispec.Descriptor) (manifest ocispec.Descriptor, err error) {
	manifest, parts, err := p.documents(ctx, target)
	if err != nil {
		return manifest, err
	}
	if err := p.pass(ctx, target, manifest); err != nil {
		return manifest, err
	}
	config, layers := parts[0], parts[1:]
	for n := range layers {
		layers[n].Annotations = nil // a stranger has written them
	}
	if !p.native {
		return manifest, images.Dispatch(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			return nil, p.fetch(ctx, d, nil)
		}), semaphore.NewWeighted(int64(engine.Concurrent)), layers...)
	}
	var image struct{ RootFS ocispec.RootFS }
	if err := readJSON(ctx, p.in.Client.ContentStore(), config, &image); err != nil {
		return manifest, err
	}
	return manifest, p.in.Lay(ctx, engine.Layers{
		Blobs: layers, DiffIDs: image.RootFS.DiffIDs, Config: config.Digest, Limits: p.limits,
		Fetch: p.fetch, Progress: p.report.extracted,
	})
}

// documents fetches the image's manifest, what leads to it, and the configuration,
// and gives the manifest and what it lists.
func (p *puller) documents(ctx context.Context, d ocispec.Descriptor) (manifest ocispec.Descriptor, parts []ocispec.Descriptor, err error) {
	cs := p.in.Client.ContentStore()
	// All that is listed is linked, or one platform's pull would unlink
	// another's; only one platform is followed.
	link := images.SetChildrenLabels(cs, func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return arrived(ctx, cs, d)
	})
	for depth := 0; ; depth++ {
		isManifest := images.IsManifestType(d.MediaType)
		if !isManifest && depth >= maxNesting {
			return d, nil, errNested
		}
		if !isManifest && !images.IsIndexType(d.MediaType) {
			return d, nil, notImage(d)
		}
		if err := p.fetch(ctx, d, nil); err != nil {
			return d, nil, err
		}
		list, err := link(ctx, d)
		if err != nil {
			return d, nil, err
		}
		if isManifest {
			if err := checkTypes(list[0], list[1:]); err != nil {
				return d, nil, err
			}
			return d, list, p.fetch(ctx, list[0], nil)
		}
		if list, err = choose(list, p.want); err != nil {
			return d, nil, err
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
