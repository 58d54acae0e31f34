package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/registry"
)

// PushOptions change how Push works. nil is the zero value.
type PushOptions struct {
	// Registry says how to reach it. nil means as `docker login` left it.
	Registry *registry.Options

	// Progress is told how the layers get on, by one goroutine at a time, in the
	// phases Waiting, Exists, and Fetching for what is sent. nil means no reports.
	Progress func(Progress)

	// All publishes every platform of an image of several, under its Index. All
	// of them have to be in the store, as those are that [Index] or [Import] has
	// brought together; Pull gets one.
	All bool

	// Foreign sends layers as well that may not be distributed (OCI image-spec,
	// layer.md), and are to be had at the URLs that the manifest says.
	Foreign bool
}

// Push publishes the image, for its platform, under a name in a registry; "" is
// its own name. Layers that the repository has are not sent again; nor are those
// that another repository of the registry has, as far as images named after it are
// in the engine: they are mounted from there. The manifest goes last, so that no
// client can pull an image that is not whole. Of an image of several platforms
// only its own is published, under its own Digest, unless o says otherwise.
//
// Errors are ctor.ErrInvalid for a ref that can't be read, ctor.ErrNotFound for
// an image that is not whole in the store any more, ctor.ErrUnavailable where the
// registry can't be reached, and those of package registry where it refuses.
func (i *Image) Push(ctx context.Context, ref string, o *PushOptions) (err error) {
	if ref == "" {
		ref = i.Ref()
	}
	defer wrap(&err, "push image "+i.Ref()+" as", ref)
	if o == nil {
		o = &PushOptions{}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return err
	}
	to, err := registry.New(r.Host, o.Registry)
	if err != nil {
		return err
	}
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return err
	}
	defer end(&err)
	if i, err = i.packed(ctx); err != nil {
		return err
	}
	p := pusher{cs: i.e.Client.ContentStore(), to: to, ref: r, report: newReport(o.Progress), foreign: o.Foreign,
		sources: &sources{e: i.e, to: r}}
	if o.All {
		return p.push(ctx, i, i.target)
	}
	return p.push(ctx, i, i.manifest)
}

// pusher sends one image.
type pusher struct {
	cs     content.Store
	to     *registry.Registry
	ref    reference.Reference
	report *report

	sources *sources
	foreign bool // send layers that are elsewhere, too
}

// push sends a manifest of the image, or its index, after all that it lists.
func (p *pusher) push(ctx context.Context, i *Image, target ocispec.Descriptor) error {
	if err := i.hold(ctx); err != nil {
		return err
	}
	all := parts{cs: p.cs, seen: map[digest.Digest]bool{}}
	if err := all.of(ctx, target, 0); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(engine.Concurrent)
	for _, d := range all.blobs {
		if p.foreign || !isForeign(d) {
			g.Go(func() error { return p.blob(gctx, d) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, d := range all.manifests {
		err := p.send(ctx, d, func(body io.Reader) error { return p.to.Push(ctx, p.ref.Repository, d, body) })
		if err != nil {
			return err
		}
	}
	return p.send(ctx, target, func(body io.Reader) error {
		return p.to.PushManifest(ctx, p.ref.String(), target, body)
	})
}

// parts is what a manifest or an index lists, each part once, and no manifest
// before what it lists itself.
type parts struct {
	cs        content.Store
	seen      map[digest.Digest]bool
	blobs     []ocispec.Descriptor
	manifests []ocispec.Descriptor
}

func (a *parts) of(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("more than %d indexes in one another: %w", maxNesting, errdefs.ErrInvalidArgument)
	}
	list, err := children(ctx, a.cs, d)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("its part %s is not in the store: %w", d.Digest, errdefs.ErrNotFound)
	}
	if err != nil {
		return err
	}
	for _, c := range list {
		if a.seen[c.Digest] {
			continue
		}
		a.seen[c.Digest] = true
		if !images.IsManifestType(c.MediaType) && !images.IsIndexType(c.MediaType) {
			a.blobs = append(a.blobs, c)
			continue
		}
		if err := a.of(ctx, c, depth+1); err != nil {
			return err
		}
		a.manifests = append(a.manifests, c)
	}
	return nil
}

// isForeign tells whether a layer is elsewhere.
func isForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 && images.IsNonDistributable(d.MediaType)
}

func (p *pusher) blob(ctx context.Context, d ocispec.Descriptor) error {
	layer := images.IsLayerType(d.MediaType)
	if layer {
		p.report.say(d, Waiting, 0)
	}
	there, err := p.to.Exists(ctx, p.ref.Repository, d)
	if err != nil {
		return err
	}
	if there {
		if layer {
			p.report.say(d, Exists, d.Size)
		}
		return nil
	}
	if !layer || !p.mount(ctx, d) {
		err = p.send(ctx, d, func(body io.Reader) error { return p.to.Push(ctx, p.ref.Repository, d, body) })
	}
	if err == nil && layer {
		p.report.complete(d)
	}
	return err
}

// send hands a part of the image to push, which may read it more than once.
func (p *pusher) send(ctx context.Context, d ocispec.Descriptor, push func(io.Reader) error) error {
	ra, err := p.cs.ReaderAt(ctx, d)
	if err != nil {
		return fmt.Errorf("read %s: %w", d.Digest, err)
	}
	defer ra.Close()
	var body io.ReaderAt = ra
	if images.IsLayerType(d.MediaType) {
		body = p.report.countAt(d, ra)
	}
	return push(io.NewSectionReader(body, 0, ra.Size()))
}
