package image

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
)

// Bounds on the search for a repository that has a layer already. Where it finds
// none the layer is sent.
const (
	maxSources = 200 // images that are looked into
	maxMounts  = 3   // repositories that are asked for a layer
)

// sources are the other repositories of a registry that should have a layer: the
// engine's images named after them do.
type sources struct {
	e  *engine.Engine
	to reference.Reference

	once sync.Once
	all  map[digest.Digest][]string
}

// of gives the repositories that should have a layer.
func (s *sources) of(ctx context.Context, d digest.Digest) []string {
	s.once.Do(func() { s.all = s.find(ctx) })
	return s.all[d]
}

func (s *sources) find(ctx context.Context) map[digest.Digest][]string {
	found := map[digest.Digest][]string{}
	records, err := s.e.Client.ImageService().List(ctx)
	if err != nil {
		return nil // they are only a hint
	}
	left := maxSources
	for _, record := range records {
		r, err := reference.Parse(record.Name)
		if err != nil || r.Host != s.to.Host || r.Repository == s.to.Repository {
			continue
		}
		if left--; left < 0 {
			break
		}
		for _, d := range s.layers(ctx, record.Target) {
			if list := found[d]; len(list) < maxMounts && !slices.Contains(list, r.Repository) {
				found[d] = append(list, r.Repository)
			}
		}
	}
	return found
}

// layers are those of an image, of all its platforms that are in the store.
func (s *sources) layers(ctx context.Context, target ocispec.Descriptor) (list []digest.Digest) {
	cs := s.e.Client.ContentStore()
	seen := map[digest.Digest]bool{}
	_ = images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if seen[d.Digest] {
			return nil, images.ErrSkipDesc
		}
		seen[d.Digest] = true
		if images.IsLayerType(d.MediaType) {
			list = append(list, d.Digest)
			return nil, nil
		}
		below, err := children(ctx, cs, d)
		if errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc
		}
		return below, err
	}), plain(target))
	return list
}

// mount puts a layer into the repository that another of the registry has, and
// tells whether it is there now.
func (p *pusher) mount(ctx context.Context, d ocispec.Descriptor) bool {
	for _, from := range p.sources.of(ctx, d.Digest) {
		// Some registries mount nothing, and take the layer instead.
		open := func() (io.ReadCloser, error) {
			ra, err := p.cs.ReaderAt(ctx, d)
			if err != nil {
				return nil, err
			}
			body := io.NewSectionReader(p.report.countAt(d, ra), 0, ra.Size())
			return struct {
				io.Reader
				io.Closer
			}{body, ra}, nil
		}
		if p.to.Mount(ctx, p.ref.Repository, from, d, open) == nil {
			return true
		}
	}
	return false
}
