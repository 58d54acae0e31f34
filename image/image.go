package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
)

// Image is a class of containers. It never changes: its name may come to mean
// another image, but an Image goes on to mean what it was made for. It is safe
// for use by any number of goroutines.
type Image struct {
	ctor     *ctor.Engine
	e        *engine.Engine
	ref      reference.Reference
	target   ocispec.Descriptor // what the name stands for: an index, perhaps
	manifest ocispec.Descriptor // of one platform
	layers   []ocispec.Descriptor
	config   ocispec.Image
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

// get finds an image by its full name. want chooses the platform; nil is as
// for Get.
func get(ctx context.Context, e *ctor.Engine, r reference.Reference, want platforms.MatchComparer) (*Image, error) {
	record, err := engine.Of(e).Client.ImageService().Get(ctx, r.String())
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("no such image: %w", errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return load(ctx, e, r, record.Target, want)
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

// maxConfig bounds what an image may have in its configuration.
const maxConfig = 8 << 20

// load reads what a descriptor stands for.
func load(ctx context.Context, e *ctor.Engine, r reference.Reference, target ocispec.Descriptor, want platforms.MatchComparer) (*Image, error) {
	i := &Image{ctor: e, e: engine.Of(e), ref: r, target: target}
	cs := i.e.Client.ContentStore()
	desc, err := choose(ctx, cs, target, want)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := readJSON(ctx, cs, desc, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := readJSON(ctx, cs, m.Config, &i.config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if want != nil && !want.Match(i.config.Platform) {
		return nil, fmt.Errorf("the image is for %s: %w", platforms.FormatAll(i.config.Platform), errdefs.ErrNotFound)
	}
	if len(m.Layers) != len(i.config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("the manifest lists %d layers, the configuration %d: %w",
			len(m.Layers), len(i.config.RootFS.DiffIDs), errdefs.ErrInvalidArgument)
	}
	i.manifest, i.layers = desc, m.Layers
	i.manifest.Platform = nil
	return i, nil
}

// choose finds the manifest that a descriptor stands for on a platform.
func choose(ctx context.Context, cs content.Store, target ocispec.Descriptor, want platforms.MatchComparer) (ocispec.Descriptor, error) {
	if images.IsManifestType(target.MediaType) {
		return target, nil
	}
	if !images.IsIndexType(target.MediaType) {
		return target, fmt.Errorf("media type %q is no image: %w", target.MediaType, errdefs.ErrInvalidArgument)
	}
	var index ocispec.Index
	if err := readJSON(ctx, cs, target, &index); err != nil {
		return target, fmt.Errorf("index: %w", err)
	}
	prefer := want
	if want == nil {
		prefer = platforms.Default()
	}
	var (
		best  *ocispec.Descriptor
		first *ocispec.Descriptor
		names []string
	)
	for n, d := range index.Manifests {
		if !images.IsManifestType(d.MediaType) {
			continue
		}
		p := platforms.DefaultSpec()
		if d.Platform != nil {
			p = *d.Platform
			names = append(names, platforms.FormatAll(p))
		}
		if _, err := cs.Info(ctx, d.Digest); err != nil {
			continue // of a platform that was not pulled
		}
		if first == nil {
			first = &index.Manifests[n]
		}
		if prefer.Match(p) && (best == nil || best.Platform == nil || prefer.Less(p, *best.Platform)) {
			best = &index.Manifests[n]
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case first != nil && want == nil:
		return *first, nil
	}
	return target, fmt.Errorf("nothing for this platform is in the store; the image is for %v: %w", names, errdefs.ErrNotFound)
}

// readJSON reads a small blob. Its size is what a stranger wrote into a
// descriptor.
func readJSON(ctx context.Context, cs content.Store, d ocispec.Descriptor, v any) error {
	if d.Size > maxConfig {
		return fmt.Errorf("%s of %d bytes, more than %d: %w", d.Digest, d.Size, maxConfig, errdefs.ErrInvalidArgument)
	}
	b, err := content.ReadBlob(ctx, cs, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Ref is the image's full name: "docker.io/library/alpine:latest".
func (i *Image) Ref() string { return i.ref.String() }

// Digest is that of the image's manifest for its platform: two images with
// one digest are the same to the last bit.
func (i *Image) Digest() digest.Digest { return i.manifest.Digest }

// Index is the digest of what the name stands for in a registry, which for an
// image of several platforms is their index; else it is Digest.
func (i *Image) Index() digest.Digest { return i.target.Digest }

// Spec is the image's configuration and history. The caller may change it.
func (i *Image) Spec() ocispec.Image {
	var c ocispec.Image
	b, err := json.Marshal(i.config)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return i.config // it came from JSON, so this can't be
	}
	return c
}

// New makes an instance: a container that is created, but not started.
func (i *Image) New(ctx context.Context, cfg container.Config) (*container.Container, error) {
	return container.New(ctx, i.ctor, i.Ref(), i.manifest, cfg)
}

// Run makes an instance and starts it. The caller closes it.
func (i *Image) Run(ctx context.Context, cfg container.Config) (*container.Container, error) {
	c, err := i.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Tag gives the image a further name, which may have meant another image
// before.
func (i *Image) Tag(ctx context.Context, ref string) (_ *Image, err error) {
	defer wrap(&err, "tag image "+i.Ref(), ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := i.e.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := store(ctx, i.e, r, i.target); err != nil {
		return nil, engine.Cause(ctx, err)
	}
	tagged := *i
	tagged.ref = r
	return &tagged, nil
}

// store makes a name stand for a descriptor.
func store(ctx context.Context, e *engine.Engine, r reference.Reference, target ocispec.Descriptor) error {
	is := e.Client.ImageService()
	record := images.Image{Name: r.String(), Target: target}
	_, err := is.Create(ctx, record)
	if errdefs.IsAlreadyExists(err) {
		_, err = is.Update(ctx, record, "target")
	}
	return err
}

// Remove removes the image's name. What no other name, container or image
// needs of its layers goes as well. Containers that were made from it go on.
// A name that is gone already is ctor.ErrNotFound.
func (i *Image) Remove(ctx context.Context) (err error) {
	defer wrap(&err, "remove image", i.Ref())
	ctx, leave, err := i.e.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return engine.Cause(ctx, i.e.Client.ImageService().Delete(ctx, i.Ref(), images.SynchronousDelete()))
}

// handle is the image as containerd's client knows it.
func (i *Image) handle() containerd.Image {
	return containerd.NewImageWithPlatform(i.e.Client, images.Image{Name: i.Ref(), Target: i.manifest}, platforms.All)
}

// wrap names the operation and the image.
func wrap(err *error, op, ref string) {
	if *err == nil {
		return
	}
	if ref != "" {
		op = fmt.Sprintf("%s %q", op, ref)
	}
	*err = fmt.Errorf("%s: %w", op, *err)
}
