package image

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/reference"
)

// Bounds on an image, none of which is trusted.
const (
	maxDocument = 8 << 20 // bytes of a manifest, an index or a configuration
	maxParts    = 1000    // of a manifest or an index; overlayfs mounts 500 layers at most
	maxNesting  = 4       // of indexes
)

var errNested = fmt.Errorf("more than %d indexes in one another: %w", maxNesting, errdefs.ErrInvalidArgument)

// octetStream is what Docker called configurations before 1.11.
const octetStream = "application/octet-stream"

// configFile is an image's configuration, with what Docker adds to OCI's, so
// that an image that is derived from another doesn't lose it.
type configFile struct {
	ocispec.Image
	Config dockerConfig `json:"config"`
}

type dockerConfig struct {
	ocispec.ImageConfig
	Healthcheck json.RawMessage `json:"Healthcheck,omitempty"`
	OnBuild     json.RawMessage `json:"OnBuild,omitempty"`
	Shell       json.RawMessage `json:"Shell,omitempty"`
}

// spec is the part that OCI knows.
func (c configFile) spec() ocispec.Image {
	s := c.Image
	s.Config = c.Config.ImageConfig
	return s
}

// edit replaces the part that OCI knows.
func (c *configFile) edit(s ocispec.Image) {
	c.Image, c.Config.ImageConfig = s, s.Config
}

// get finds an image by its full name. want chooses the platform; nil is as
// for Get.
func get(ctx context.Context, e *ctor.Engine, r reference.Reference, want platforms.MatchComparer) (*Image, error) {
	var last digest.Digest
	for {
		record, err := engine.Of(e).Client.ImageService().Get(ctx, r.String())
		if errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("no such image: %w", errdefs.ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		i, err := load(ctx, e, r, record.Target, want)
		// The name may mean another image by now, and this image may be gone.
		if !errdefs.IsNotFound(err) || record.Target.Digest == last {
			return i, err
		}
		last = record.Target.Digest
	}
}

// load reads the image that a descriptor stands for on a platform: the best of
// those in the store, and one whose layers are there rather than one whose are
// not.
func load(ctx context.Context, e *ctor.Engine, r reference.Reference, target ocispec.Descriptor, want platforms.MatchComparer) (*Image, error) {
	i := Image{ctor: e, e: engine.Of(e), ref: r, target: plain(target)}
	list, err := candidates(ctx, i.e.Client.ContentStore(), i.target, want, 0)
	if err != nil {
		return nil, err
	}
	var (
		found *Image
		cause error
	)
	for _, d := range list {
		c := i
		c.manifest = plain(d)
		if err := c.read(ctx, platformOf(d), want); err != nil {
			// Some manifests of an index may not be in the store. The first is
			// the best.
			if cause == nil {
				cause = err
			}
			continue
		}
		if len(list) == 1 || c.usable(ctx) {
			return &c, nil
		}
		if found == nil {
			found = &c
		}
	}
	if found == nil {
		return nil, cause
	}
	return found, nil
}

// errNoImage is the class of what is in order, but no image.
var errNoImage = fmt.Errorf("%w", errdefs.ErrInvalidArgument)

func notImage(d ocispec.Descriptor) error {
	return fmt.Errorf("media type %.80q is no image: %w", d.MediaType, errNoImage)
}

// plain is a descriptor without annotations and the like, which are not trusted.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// candidates gives the manifests that a descriptor may stand for, the best
// first. There is at least one.
func candidates(ctx context.Context, cs content.Store, target ocispec.Descriptor, want platforms.MatchComparer, depth int) ([]ocispec.Descriptor, error) {
	if images.IsManifestType(target.MediaType) {
		return []ocispec.Descriptor{target}, nil
	}
	if !images.IsIndexType(target.MediaType) {
		return nil, notImage(target)
	}
	if depth == maxNesting {
		return nil, errNested
	}
	var index ocispec.Index
	if err := readJSON(ctx, cs, target, &index); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	list, err := choose(index.Manifests, want)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, d := range list {
		if images.IsManifestType(d.MediaType) {
			all = append(all, d)
			continue
		}
		below, err := candidates(ctx, cs, d, want, depth+1)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if all = append(all, below...); len(all) > maxParts {
			return nil, fmt.Errorf("the index has more than %d manifests: %w", maxParts, errdefs.ErrInvalidArgument)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing that the index lists is in the store: %w", errdefs.ErrNotFound)
	}
	return all, nil
}

// choose gives those manifests of an index that are of a platform, or may be,
// since they don't say; the best first. nil wants this machine's, but the
// others rather than nothing.
func choose(list []ocispec.Descriptor, want platforms.MatchComparer) ([]ocispec.Descriptor, error) {
	if len(list) > maxParts {
		return nil, fmt.Errorf("the index lists %d manifests, more than %d: %w", len(list), maxParts, errdefs.ErrInvalidArgument)
	}
	prefer := want
	if want == nil {
		prefer = platforms.Default()
	}
	var match, rest []ocispec.Descriptor
	var names []string
	for _, d := range list {
		switch {
		case !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType):
		case platformOf(d) == nil || prefer.Match(*d.Platform):
			match = append(match, d)
		case d.Platform.OS != "unknown": // as the attestations of BuildKit
			rest = append(rest, d)
			if len(names) < 20 {
				names = append(names, fmt.Sprintf("%.40s", platforms.FormatAll(*d.Platform)))
			}
		}
	}
	slices.SortStableFunc(match, func(a, b ocispec.Descriptor) int {
		switch {
		case platformOf(a) == nil && platformOf(b) == nil:
			return 0
		case platformOf(a) == nil:
			return 1
		case platformOf(b) == nil || prefer.Less(*a.Platform, *b.Platform):
			return -1
		case prefer.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	if want == nil {
		match = append(match, rest...)
	}
	if len(match) == 0 {
		return nil, fmt.Errorf("the image is for %q only: %w", names, errdefs.ErrNotFound)
	}
	return match, nil
}

// platformOf is the platform that an index gives a manifest, nil if it doesn't
// say.
func platformOf(d ocispec.Descriptor) *ocispec.Platform {
	if d.Platform == nil || d.Platform.OS == "" || d.Platform.Architecture == "" {
		return nil
	}
	return d.Platform
}

// read reads the documents of i, whose manifest is set. What the index says of
// the platform, if it is of one, is more to be believed than the configuration,
// where old tools wrote nothing, or their own machine's.
func (i *Image) read(ctx context.Context, p *ocispec.Platform, want platforms.MatchComparer) error {
	cs := i.e.Client.ContentStore()
	if err := readJSON(ctx, cs, i.manifest, &i.parts); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := checkTypes(i.parts.Config, i.parts.Layers); err != nil {
		return err
	}
	if err := readJSON(ctx, cs, i.parts.Config, &i.config); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if p != nil {
		i.config.Platform = *p
	}
	if want != nil && !want.Match(i.config.Platform) {
		return fmt.Errorf("the image is for %.80q: %w", platforms.FormatAll(i.config.Platform), errdefs.ErrNotFound)
	}
	if n := len(i.parts.Layers); n > maxParts {
		return fmt.Errorf("the manifest lists %d layers, more than %d: %w", n, maxParts, errdefs.ErrInvalidArgument)
	}
	if n := len(i.config.RootFS.DiffIDs); n != len(i.parts.Layers) {
		return fmt.Errorf("the manifest lists %d layers, the configuration %d: %w", len(i.parts.Layers), n, errdefs.ErrInvalidArgument)
	}
	for _, d := range i.config.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("diff id %.80q: %w: %w", d, err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// whole tells whether all of the image is in the store, and what isn't.
func (i *Image) whole(ctx context.Context) error {
	cs := i.e.Client.ContentStore()
	for _, d := range slices.Concat([]ocispec.Descriptor{i.manifest, i.parts.Config}, i.parts.Layers) {
		_, err := cs.Info(ctx, d.Digest)
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("its part %s is not in the store: %w", d.Digest, errdefs.ErrNotFound)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hold is whole, and what it has found stays in the store as long as the lease in
// ctx.
func (i *Image) hold(ctx context.Context) error {
	for _, d := range slices.Compact([]digest.Digest{i.target.Digest, i.manifest.Digest}) {
		if err := i.e.HoldContent(ctx, d); err != nil {
			return err
		}
	}
	return i.whole(ctx)
}

// source is the image as containerd's client knows it.
func (i *Image) source() containerd.Image {
	return i.e.Image(i.Ref(), i.manifest)
}

// usable tells whether containers can be made: the layers are there, or what
// they unpack to is, which is all that some clients of a shared containerd keep.
func (i *Image) usable(ctx context.Context) bool {
	if i.whole(ctx) == nil {
		return true
	}
	_, err := i.e.Client.SnapshotService(i.e.Snapshotter).Stat(ctx, identity.ChainID(i.config.RootFS.DiffIDs).String())
	return err == nil
}

// readJSON reads a document. Its size is what a stranger wrote into a
// descriptor.
func readJSON(ctx context.Context, cs content.Store, d ocispec.Descriptor, v any) error {
	if err := acceptable(d); err != nil {
		return err
	}
	b, err := readBlob(ctx, cs, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// readBlob reads a blob, which is in memory then, if it has the size that its descriptor
// says, and no other.
func readBlob(ctx context.Context, cs content.Store, d ocispec.Descriptor) ([]byte, error) {
	if err := sized(ctx, cs, d); err != nil {
		return nil, err
	}
	return content.ReadBlob(ctx, cs, d)
}

// sized refuses a descriptor that says another size than the blob has.
func sized(ctx context.Context, cs content.Store, d ocispec.Descriptor) error {
	info, err := cs.Info(ctx, d.Digest)
	if err == nil && info.Size != d.Size {
		err = fmt.Errorf("%.80q %s has %d bytes, not %d: %w", d.MediaType, d.Digest, info.Size, d.Size, errdefs.ErrInvalidArgument)
	}
	return err
}

// checkTypes refuses what has the form of an image and is none: a chart, a
// signature.
func checkTypes(config ocispec.Descriptor, layers []ocispec.Descriptor) error {
	if !images.IsConfigType(config.MediaType) && config.MediaType != octetStream {
		return fmt.Errorf("it is no image: its configuration is %.80q: %w", config.MediaType, errNoImage)
	}
	for _, l := range layers {
		if !images.IsLayerType(l.MediaType) {
			return fmt.Errorf("it is no image: a layer is %.80q: %w", l.MediaType, errNoImage)
		}
	}
	return nil
}

// acceptable refuses what no image has.
func acceptable(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %.80q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	if d.Size < 0 || !images.IsLayerType(d.MediaType) && d.Size > maxDocument {
		return fmt.Errorf("%.80q %s has %d bytes, not 0 to %d: %w", d.MediaType, d.Digest, d.Size, maxDocument, errdefs.ErrInvalidArgument)
	}
	if d.MediaType == images.MediaTypeDockerSchema1Manifest {
		return fmt.Errorf("the image is of Docker's schema 1, which nothing supports any more: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

// children gives what an index or a manifest lists.
func children(ctx context.Context, cs content.Store, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if err := acceptable(d); err != nil {
		return nil, err
	}
	if images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType) {
		if err := sized(ctx, cs, d); err != nil {
			return nil, err
		}
	}
	list, err := images.Children(ctx, cs, d)
	if err != nil {
		return nil, err
	}
	if len(list) > maxParts {
		return nil, fmt.Errorf("%s lists %d parts, more than %d: %w", d.Digest, len(list), maxParts, errdefs.ErrInvalidArgument)
	}
	if images.IsManifestType(d.MediaType) && len(list) > 0 && list[0].MediaType == octetStream {
		list[0].MediaType = images.MediaTypeDockerSchema2Config
	}
	for _, c := range list {
		if err := acceptable(c); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// arrived gives what children gives, of something that comes from outside: that may have
// no layer of a fork, which means a directory of this engine's.
func arrived(ctx context.Context, cs content.Store, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	list, err := children(ctx, cs, d)
	if err == nil && slices.ContainsFunc(list, packing.IsFork) {
		return nil, packing.ErrFork
	}
	return list, err
}
