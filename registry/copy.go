package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Bounds on what a copy follows. All of it is a stranger's word.
const (
	maxNesting   = 4      // of indexes, and of what is about what is about an image
	maxManifests = 10_000 // of one copy
	copiesAtOnce = 4
)

// CopyOptions change how Copy works. nil is the zero value.
type CopyOptions struct {
	// From and To say how to reach the two registries. nil means the default
	// options. Layouts don't ask them.
	From, To *Options

	// Platforms are those to copy of an image of several, such as
	// "linux/arm64". Nil means all, and the same digest. Of one, its manifest
	// alone is copied; of more, a new index of them is made.
	Platforms []string

	// Referrers copies what is about the image, or about a part of it, as well:
	// signatures, bills of materials; also those that cosign keeps under tags of its
	// own, such as "sha256-HEX.sig".
	Referrers bool

	// Progress is told how the blobs get on, by one goroutine at a time. nil means no
	// reports.
	Progress func(Progress)
}

// Progress is the state of one blob of a copy. A blob that is listed twice is one.
type Progress struct {
	Blob  digest.Digest // which
	Bytes int64         // copied
	Total int64
	Done  bool // it is where it should be: the last that is told of it
	There bool // nothing was copied, since it was there
}

// Copy copies an image, or anything else with a manifest, to another place without
// storing it in between, and returns the digest under which it is there. Places are
//
//   - names in registries: full references, completed as Docker does it;
//   - OCI image layouts (OCI image-spec, image-layout.md), as skopeo writes them:
//     "oci:DIR", "oci:DIR:NAME", "oci:DIR@DIGEST". DIR begins with a slash or a dot, and
//     has no colon. It is made where it is not there. Without a name, an image is
//     copied to be listed without one, and from a layout that has no other.
//
// Blobs that the target has are not sent again, and those of another repository of the
// same registry are mounted. The manifest goes last. Layers that may not be
// distributed stay where they are.
//
// Everything is compared to its digest: content that isn't what it must be is
// ErrDigest. A layout that several programs write to at a time has what all have
// written; what a killed one leaves begins with ".ctor-".
func Copy(ctx context.Context, from, to string, o *CopyOptions) (_ digest.Digest, err error) {
	if o == nil {
		o = new(CopyOptions)
	}
	c := copier{o: o, done: map[digest.Digest]bool{}, told: map[digest.Digest]Progress{}}
	if c.from, err = placeOf(ctx, from, o.From, false); err != nil {
		return "", fmt.Errorf("copy: %w", err)
	}
	defer c.from.Close()
	d, err := c.copy(ctx, to)
	if err != nil {
		return "", fmt.Errorf("copy %s to %s: %w", c.from, to, err)
	}
	return d, nil
}

// copier copies one image.
type copier struct {
	o        *CopyOptions
	from, to place
	done     map[digest.Digest]bool // manifests, with all that they list

	mu   sync.Mutex
	told map[digest.Digest]Progress
}

// tell reports on a blob, and lets nothing go backwards.
func (c *copier) tell(p Progress) {
	if c.o.Progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.told[p.Blob]; ok && (last.Done || p.Bytes <= last.Bytes && !p.Done) {
		return
	}
	c.told[p.Blob] = p
	c.o.Progress(p)
}

// document is a manifest or an index: what of either there is.
type document struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
}

func (c *copier) copy(ctx context.Context, to string) (digest.Digest, error) {
	d, err := c.from.resolve(ctx)
	if err != nil {
		return "", err
	}
	body, err := c.from.read(ctx, d)
	if err != nil {
		return "", err
	}
	if c.o.Platforms != nil {
		if d, body, err = c.choose(ctx, d, body); err != nil {
			return "", err
		}
	}
	// Not before it is known that there is something to write to it.
	if c.to, err = placeOf(ctx, to, c.o.To, true); err != nil {
		return "", err
	}
	defer c.to.Close()
	if want := c.to.digest(); want != "" && want != d.Digest {
		return "", fmt.Errorf("what is copied is %s: %w", d.Digest, errdefs.ErrInvalidArgument)
	}
	if err := c.parts(ctx, d, body, 0); err != nil {
		return "", err
	}
	if err := c.to.name(ctx, d, body); err != nil {
		return "", err
	}
	return d.Digest, c.referrers(ctx, d, 0)
}

// choose gives what is to be copied of an image of several platforms.
func (c *copier) choose(ctx context.Context, d ocispec.Descriptor, body []byte) (ocispec.Descriptor, []byte, error) {
	if !isIndex(d.MediaType) {
		return d, body, nil
	}
	var index ocispec.Index
	if err := unmarshal(d, body, &index); err != nil {
		return d, nil, err
	}
	var list []ocispec.Descriptor
	for _, s := range c.o.Platforms {
		p, err := platforms.Parse(s)
		if err != nil {
			return d, nil, fmt.Errorf("platform %q: %w: %w", s, err, errdefs.ErrInvalidArgument)
		}
		is := platforms.OnlyStrict(p)
		n := slices.IndexFunc(index.Manifests, func(m ocispec.Descriptor) bool { return m.Platform != nil && is.Match(*m.Platform) })
		if n < 0 {
			return d, nil, fmt.Errorf("the image has nothing for %s: %w", s, errdefs.ErrNotFound)
		}
		list = append(list, index.Manifests[n])
	}
	if len(list) == 1 {
		one := ocispec.Descriptor{MediaType: list[0].MediaType, Digest: list[0].Digest, Size: list[0].Size}
		body, err := c.manifest(ctx, one)
		return one, body, err
	}
	index.Manifests = list
	body, err := json.Marshal(index)
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}, body, err
}

// manifest reads a manifest that something lists.
func (c *copier) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if err := checkManifest(d); err != nil {
		return nil, err
	}
	return c.from.read(ctx, d)
}

// parts copies what a manifest lists.
func (c *copier) parts(ctx context.Context, d ocispec.Descriptor, body []byte, depth int) error {
	if c.done[d.Digest] = true; len(c.done) > maxManifests {
		return fmt.Errorf("more than %d manifests: %w", maxManifests, errdefs.ErrOutOfRange)
	}
	if depth > maxNesting {
		return fmt.Errorf("more than %d manifests in one another: %w", maxNesting, errdefs.ErrOutOfRange)
	}
	var doc document
	if err := unmarshal(d, body, &doc); err != nil {
		return err
	}
	if isIndex(d.MediaType) {
		for _, m := range doc.Manifests {
			if err := c.below(ctx, m, depth+1, false); err != nil {
				return err
			}
		}
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	sent := map[digest.Digest]bool{}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, b := range doc.Layers {
		if !sent[b.Digest] && !(len(b.URLs) > 0 && isElsewhere(b.MediaType)) {
			sent[b.Digest] = true
			g.Go(func() error { return c.blob(gctx, b) })
		}
	}
	return g.Wait()
}

// below copies a manifest by its digest, with what it lists and is about it. about
// tells that it is itself about another.
func (c *copier) below(ctx context.Context, d ocispec.Descriptor, depth int, about bool) error {
	if c.done[d.Digest] {
		return nil
	}
	body, err := c.manifest(ctx, d)
	if err != nil {
		return err
	}
	if err := c.parts(ctx, d, body, depth); err != nil {
		return err
	}
	if err := c.to.putManifest(ctx, d, body, about); err != nil {
		return err
	}
	return c.referrers(ctx, d, depth)
}

// referrers copies what is about a manifest.
func (c *copier) referrers(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if !c.o.Referrers {
		return nil
	}
	for about, err := range c.from.referrers(ctx, d) {
		if err != nil {
			return err
		}
		if err := c.below(ctx, about, depth+1, true); err != nil {
			return err
		}
	}
	for _, kind := range []string{"sig", "att", "sbom"} {
		tag := d.Digest.Algorithm().String() + "-" + d.Digest.Encoded() + "." + kind
		if err := c.sibling(ctx, tag, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// sibling copies what has a tag beside the image, if something has.
func (c *copier) sibling(ctx context.Context, tag string, depth int) error {
	d, err := c.from.tagged(tag).resolve(ctx)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	body, err := c.manifest(ctx, d)
	if err != nil {
		return err
	}
	if err := c.parts(ctx, d, body, depth); err != nil {
		return err
	}
	return c.to.tagged(tag).name(ctx, d, body)
}

// blob copies content that is no manifest.
func (c *copier) blob(ctx context.Context, d ocispec.Descriptor) error {
	d = ocispec.Descriptor{Digest: d.Digest, Size: d.Size}
	c.tell(Progress{Blob: d.Digest, Total: d.Size})
	there, err := c.to.has(ctx, d)
	if err != nil {
		return err
	}
	var sent atomic.Bool
	if !there {
		err = c.to.put(ctx, d, c.from, func() (io.ReadCloser, error) {
			rc, err := c.from.open(ctx, d)
			if err != nil {
				return nil, err
			}
			sent.Store(true)
			return struct {
				io.Reader
				io.Closer
			}{&counter{r: verified(rc, d), count: func(n int64) { c.tell(Progress{Blob: d.Digest, Bytes: n, Total: d.Size}) }}, rc}, nil
		})
	}
	if err == nil {
		c.tell(Progress{Blob: d.Digest, Bytes: d.Size, Total: d.Size, Done: true, There: !sent.Load()})
	}
	return err
}

// counter tells how much has been read.
type counter struct {
	r     io.Reader
	n     int64
	count func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n += int64(n); n > 0 {
		c.count(c.n)
	}
	return n, err
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

// isElsewhere tells layers that may not be distributed.
func isElsewhere(mediaType string) bool {
	return slices.Contains([]string{
		"application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	}, mediaType)
}

func unmarshal(d ocispec.Descriptor, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("manifest %s: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	return nil
}
