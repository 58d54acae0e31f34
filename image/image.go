package image

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/reference"
)

// Image is a class of containers. It never changes: its name may come to mean
// another image, but an Image always means the same. It is safe
// for use by any number of goroutines. The zero Image is none: Pull, Get,
// Import and New make them.
type Image struct {
	ctor     *ctor.Engine
	e        *engine.Engine
	ref      reference.Reference
	target   ocispec.Descriptor // what the name stands for: an index, perhaps
	manifest ocispec.Descriptor // of one platform
	parts    ocispec.Manifest
	config   configFile
}

// Get finds an image in the engine's store. ref is completed as Docker does
// it: "alpine" is "docker.io/library/alpine:latest". One that is not there is
// ctor.ErrNotFound; nothing is pulled.
//
// Of an image of several platforms it gives this machine's if that is there,
// else the first that is.
func Get(ctx context.Context, e *ctor.Engine, ref string) (_ *Image, err error) {
	defer wrap(&err, "get image", ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	i, err := get(ctx, e, r, nil)
	return i, engine.Cause(ctx, err)
}

// List gives all images in the engine's store, in the order of their names.
// What can't be read as an image is left out.
func List(ctx context.Context, e *ctor.Engine) (_ []*Image, err error) {
	defer wrap(&err, "list images", "")
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	records, err := engine.Of(e).Client.ImageService().List(ctx)
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	var list []*Image
	for _, record := range records {
		r, err := reference.Parse(record.Name)
		if err != nil {
			continue // another client of a shared containerd may call it anything
		}
		i, err := load(ctx, e, r, record.Target, nil)
		if errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) {
			continue
		}
		if err != nil {
			return nil, engine.Cause(ctx, err)
		}
		list = append(list, i)
	}
	return list, nil
}

// Ref is the image's full name: "docker.io/library/alpine:latest".
func (i *Image) Ref() string { return i.ref.String() }

// Digest is the digest of the image's manifest for its platform: two images with
// one digest are the same to the last bit.
func (i *Image) Digest() digest.Digest { return i.manifest.Digest }

// Index is the digest of what the name stands for in a registry, which for an
// image of several platforms is their index; else it is Digest.
func (i *Image) Index() digest.Digest { return i.target.Digest }

// Spec is the image's configuration and history (OCI image-spec, config.md).
// It is a copy, which the caller may change.
func (i *Image) Spec() ocispec.Image {
	var c ocispec.Image
	b, err := json.Marshal(i.config.spec())
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return i.config.spec() // it came from JSON, so this can't be
	}
	return c
}

// New makes an instance: a container that is created, but not started. The
// zero Config changes nothing of what the image says. An image for another
// platform than this machine's is ctor.ErrInvalid.
func (i *Image) New(ctx context.Context, cfg container.Config) (*container.Container, error) {
	return container.New(ctx, i.ctor, i.Ref(), i.class(), cfg)
}

// class is the manifest with the platform that is believed to be its own.
func (i *Image) class() ocispec.Descriptor {
	d := i.manifest
	d.Platform = &i.config.Platform
	return d
}

// Run makes an instance, starts it, and waits until it is ready, if cfg.Ready
// says what that is; see [container.Container.WaitReady]. The caller closes it.
// When Run fails, or cfg.Ready panics, nothing is left of it.
func (i *Image) Run(ctx context.Context, cfg container.Config) (_ *container.Container, err error) {
	c, err := i.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ready := false
	defer func() {
		// Not by err alone: Ready may panic.
		if !ready {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	if err := c.WaitReady(ctx, cfg.Ready); err != nil {
		return nil, err
	}
	ready = true
	return c, nil
}

// Warm makes a pool of n warm instances: containers that are made but for their command,
// of which [container.Pool.Claim] takes one and gives it that. Between the claim and the
// command's first instruction is then little more than its execve(2): see
// [container.Warm] for cfg and the errors. The caller closes the pool.
func (i *Image) Warm(ctx context.Context, n int, cfg container.Config) (*container.Pool, error) {
	return container.Warm(ctx, i.ctor, i.Ref(), i.class(), n, cfg)
}

// Tag gives the image a further name, which may have meant another image
// before, and returns it under that name. An image of several platforms keeps
// them all.
func (i *Image) Tag(ctx context.Context, ref string) (_ *Image, err error) {
	defer wrap(&err, "tag image "+i.Ref(), ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	// If the image is removed meanwhile, the name would stand for nothing.
	if err := i.hold(ctx); err != nil {
		return nil, err
	}
	if err := name(ctx, i.e, r, i.target); err != nil {
		return nil, err
	}
	tagged := *i
	tagged.ref = r
	return &tagged, nil
}

// name makes a name stand for a descriptor. It is the last step of a call: one
// whose ctx has ended takes none.
func name(ctx context.Context, e *engine.Engine, r reference.Reference, target ocispec.Descriptor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.NameImage(ctx, r.String(), target)
}

// Remove removes the image's name. What no other name or container needs of
// its layers goes as well, before Remove returns. Containers that were made
// from it go on. A name that is gone, or has come to mean another image, is
// ctor.ErrNotFound.
func (i *Image) Remove(ctx context.Context) (err error) {
	defer wrap(&err, "remove image", i.Ref())
	ctx, leave, err := i.e.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := i.e.Client.ImageService().Delete(ctx, i.Ref(), images.SynchronousDelete(), images.DeleteTarget(&i.target)); err != nil {
		return engine.Cause(ctx, err)
	}
	i.e.Tell(events.Event{Kind: events.Image, Action: events.Removed, Name: i.Ref(), Image: i.target.Digest.String()})
	return nil
}
