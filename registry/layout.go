package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/layout"
)

// inLayout is a name in an OCI layout.
type inLayout struct {
	*layout.Layout
	dir   string
	tag   string        // as index.json has it; "" is none
	sum   digest.Digest // "" is none
	about map[digest.Digest][]ocispec.Descriptor
}

// cosigned are the tags under which cosign keeps what is about an image.
var cosigned = regexp.MustCompile(`^sha256-[0-9a-f]{64}\.(sig|att|sbom)$`)

// tags are what a layout may call an image (OCI image-spec, annotations.md,
// "org.opencontainers.image.ref.name").
var tags = regexp.MustCompile(`^[A-Za-z0-9]+((--|[-._:@+/])[A-Za-z0-9]+)*$`)

// layoutOf opens what stands behind "oci:".
func layoutOf(ctx context.Context, s string, into bool) (_ place, err error) {
	p := &inLayout{}
	if at := strings.LastIndex(s, "@"); at >= 0 && digest.Digest(s[at+1:]).Validate() == nil {
		p.sum, s = digest.Digest(s[at+1:]), s[:at]
	}
	dir, tag, named := strings.Cut(s, ":")
	if named && (!tags.MatchString(tag) || len(tag) > 255) {
		return nil, fmt.Errorf("%.300q is no name in an OCI layout: %w", tag, errdefs.ErrInvalidArgument)
	}
	p.dir, p.tag = path.Clean(dir), tag
	if into {
		p.Layout, err = layout.Create(ctx, p.dir)
	} else {
		p.Layout, err = layout.Open(p.dir)
	}
	return p, err
}

func (p *inLayout) String() string {
	s := "oci:" + p.dir
	if p.tag != "" {
		s += ":" + p.tag
	}
	if p.sum != "" {
		s += "@" + p.sum.String()
	}
	return s
}

func (p *inLayout) digest() digest.Digest { return p.sum }

func (p *inLayout) tagged(tag string) place {
	other := *p
	other.tag, other.sum = tag, ""
	return &other
}

func (p *inLayout) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	if p.sum != "" {
		return p.describe(ctx, p.sum)
	}
	index, err := p.Index()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var found []ocispec.Descriptor
	var names []string
	for _, d := range index.Manifests {
		name := d.Annotations[ocispec.AnnotationRefName]
		if name != "" && len(names) < 20 {
			names = append(names, printable(name))
		}
		if name == p.tag && p.tag != "" {
			found = append(found, d)
		}
	}
	if p.tag == "" {
		if found, err = p.images(ctx, index); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	switch {
	case len(found) == 0:
		return ocispec.Descriptor{}, fmt.Errorf("%s is not in the layout, which has %q: %w", p, names, errdefs.ErrNotFound)
	case len(found) > 1:
		return ocispec.Descriptor{}, fmt.Errorf("the layout has %d images, say which, of %q: %w", len(found), names, errdefs.ErrInvalidArgument)
	}
	d := ocispec.Descriptor{MediaType: found[0].MediaType, Digest: found[0].Digest, Size: found[0].Size}
	return d, checkManifest(d)
}

// images are what a layout lists that is about nothing else.
func (p *inLayout) images(ctx context.Context, index ocispec.Index) (list []ocispec.Descriptor, err error) {
	if err := p.learn(ctx); err != nil {
		return nil, err
	}
	abouts := map[digest.Digest]bool{}
	for _, l := range p.about {
		for _, d := range l {
			abouts[d.Digest] = true
		}
	}
	for _, d := range index.Manifests {
		if !abouts[d.Digest] && !cosigned.MatchString(d.Annotations[ocispec.AnnotationRefName]) {
			list = append(list, d)
		}
	}
	return list, nil
}

// describe says what a manifest is that no list has to name.
func (p *inLayout) describe(ctx context.Context, sum digest.Digest) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{Digest: sum}
	var err error
	if d.Size, err = p.Size(sum); err != nil {
		return d, err
	}
	b, err := p.read(ctx, d)
	if err != nil {
		return d, err
	}
	d.MediaType = manifestType("", b)
	return d, checkManifest(d)
}

func (p *inLayout) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, tooLarge(d.Size)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rc, err := p.Open(d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(verified(rc, d))
}

func (p *inLayout) open(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return p.Open(d)
}

func (p *inLayout) referrers(ctx context.Context, d ocispec.Descriptor) iter.Seq2[ocispec.Descriptor, error] {
	return func(yield func(ocispec.Descriptor, error) bool) {
		if err := p.learn(ctx); err != nil {
			yield(ocispec.Descriptor{}, err)
			return
		}
		for _, about := range p.about[d.Digest] {
			if !yield(about, nil) {
				return
			}
		}
	}
}

// maxListed bounds the manifests that are looked into for what they are about.
const maxListed = 10_000

// learn finds what the listed manifests are about. What can't be read is about
// nothing.
func (p *inLayout) learn(ctx context.Context) error {
	if p.about != nil {
		return nil
	}
	index, err := p.Index()
	if err != nil {
		return err
	}
	if len(index.Manifests) > maxListed {
		return fmt.Errorf("the layout lists %d manifests, more than %d: %w", len(index.Manifests), maxListed, errdefs.ErrOutOfRange)
	}
	about := map[digest.Digest][]ocispec.Descriptor{}
	for _, d := range index.Manifests {
		b, err := p.read(ctx, d)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var m struct {
			Subject *ocispec.Descriptor `json:"subject"`
		}
		if err != nil || checkManifest(d) != nil || unmarshal(d, b, &m) != nil || m.Subject == nil {
			continue
		}
		about[m.Subject.Digest] = append(about[m.Subject.Digest], d)
	}
	p.about = about
	return nil
}

func (p *inLayout) has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return p.Exists(ctx, d)
}

// put compares the content to its digest: no server does.
func (p *inLayout) put(ctx context.Context, d ocispec.Descriptor, _ place, open func() (io.ReadCloser, error)) error {
	rc, err := open()
	if err != nil {
		return err
	}
	defer rc.Close()
	return p.Put(ctx, d, rc)
}

func (p *inLayout) putManifest(ctx context.Context, d ocispec.Descriptor, body []byte, about bool) error {
	if err := p.Put(ctx, d, bytes.NewReader(body)); err != nil || !about {
		return err
	}
	return p.list(ctx, d, "")
}

func (p *inLayout) name(ctx context.Context, d ocispec.Descriptor, body []byte) error {
	if err := p.putManifest(ctx, d, body, false); err != nil {
		return err
	}
	return p.list(ctx, d, p.tag)
}

// list gives a manifest a name, which may have meant another, or lists it without one.
func (p *inLayout) list(ctx context.Context, d ocispec.Descriptor, tag string) error {
	d.Annotations = nil
	if tag != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	}
	return p.List(ctx, func(list []ocispec.Descriptor) []ocispec.Descriptor {
		list = slices.DeleteFunc(list, func(other ocispec.Descriptor) bool {
			name := other.Annotations[ocispec.AnnotationRefName]
			return name == tag && (tag != "" || other.Digest == d.Digest)
		})
		return append(list, d)
	})
}
