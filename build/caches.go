package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	"github.com/moby/buildkit/client/ociindex"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/contentutil"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/registry"
)

// Cache is a place outside of the engine where the results of steps are kept, for
// builds by other engines and on other machines. It is trusted: a build takes from it
// what a step would have made.
type Cache struct {
	kind cacheKind
	at   string
}

type cacheKind string

const (
	inRegistry  cacheKind = "registry"
	inDirectory cacheKind = "directory"
	inImage     cacheKind = "inline"
)

// InRegistry is a cache under a name of its own in a registry, as
// "registry.example/shop:cache". To read from, it may also be an image that was
// built with [InImage]. Credentials and mirrors are those of Options.Pull.
func InRegistry(ref string) Cache { return Cache{inRegistry, ref} }

// InDirectory is a cache in a directory of this host, in the format of an OCI image
// layout. What is no longer in it by name stays on the disk: remove the directory to
// begin again. Two programs should not write one at the same time.
func InDirectory(path string) Cache { return Cache{inDirectory, path} }

// InImage is a cache that is written into the image itself, and published with it.
// It has the results of those steps alone that the image consists of, and is only
// written; it is read as [InRegistry] with the image's name.
func InImage() Cache { return Cache{kind: inImage} }

// String names the cache.
func (c Cache) String() string {
	if c.kind == inImage {
		return "the image"
	}
	return string(c.kind) + " " + c.at
}

// checkCaches tells what is wrong with the caches of a build.
func (o *Options) checkCaches() error {
	for _, c := range o.CacheFrom {
		if c.kind == inImage {
			return fmt.Errorf("cache from %v: name it by InRegistry (%w)", c, ctor.ErrInvalid)
		}
	}
	for _, c := range append(o.CacheFrom[:len(o.CacheFrom):len(o.CacheFrom)], o.CacheTo...) {
		switch c.kind {
		case inRegistry:
			if _, err := reference.Parse(c.at); err != nil {
				return fmt.Errorf("cache in %v: %w", c, err)
			}
		case inDirectory:
			if c.at == "" {
				return fmt.Errorf("cache in a directory without a name (%w)", ctor.ErrInvalid)
			}
		case inImage:
		default:
			return fmt.Errorf("a cache that is nowhere (%w)", ctor.ErrInvalid)
		}
	}
	return nil
}

// imports is what the frontend is told of the caches to read: the name of each, for
// which importers has what reads it.
func (o *Options) imports() string {
	var list []*controlapi.CacheOptionsEntry
	for _, c := range o.CacheFrom {
		list = append(list, &controlapi.CacheOptionsEntry{Type: c.String()})
	}
	if list == nil {
		return ""
	}
	b, _ := json.Marshal(list) // strings: it can't fail
	return string(b)
}

// importers read the caches of a build.
func (o *Options) importers() map[string]remotecache.ResolveCacheImporterFunc {
	all := map[string]remotecache.ResolveCacheImporterFunc{}
	for _, c := range o.CacheFrom {
		all[c.String()] = func(ctx context.Context, _ session.Group, _ map[string]string) (remotecache.Importer, ocispec.Descriptor, error) {
			from, d, err := c.open(ctx, o.Pull.Registry)
			if err != nil {
				return nil, d, err
			}
			return remotecache.NewImporter(from), d, nil
		}
	}
	return all
}

// open finds the manifest of a cache, and what reads it and its blobs.
func (c Cache) open(ctx context.Context, o *registry.Options) (content.Provider, ocispec.Descriptor, error) {
	if c.kind == inRegistry {
		s, err := newShelf(c.at, o)
		if err != nil {
			return nil, ocispec.Descriptor{}, err
		}
		d, err := s.registry.Resolve(ctx, s.ref.String())
		return contentutil.FromFetcher(s), d, err
	}
	if _, err := os.Stat(filepath.Join(c.at, "index.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, ocispec.Descriptor{}, fmt.Errorf("%s: no cache is there (%w)", c.at, ctor.ErrNotFound)
	}
	d, err := ociindex.NewStoreIndex(c.at).Get(cacheTag)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	if d == nil {
		return nil, ocispec.Descriptor{}, fmt.Errorf("%s: no cache is there (%w)", c.at, ctor.ErrNotFound)
	}
	store, err := contentlocal.NewStore(c.at)
	return store, *d, err
}

// cacheTag is how a directory's cache is called in its index.
const cacheTag = "latest"

// saved are the caches to write, as the solver writes them.
func (s *solving) saved() (list []llbsolver.RemoteCacheExporter, err error) {
	for _, c := range s.o.CacheTo {
		x := llbsolver.RemoteCacheExporter{CacheExportMode: solver.CacheExportModeMax}
		switch c.kind {
		case inImage:
			x.Exporter, x.CacheExportMode = inline.NewExporter(), solver.CacheExportModeMin
		case inRegistry:
			to, err := newShelf(c.at, s.o.Pull.Registry)
			if err != nil {
				return nil, err
			}
			to.dir = s.commands.dir
			x.Exporter = newSaver(c, to, nil)
		case inDirectory:
			store, err := contentlocal.NewStore(c.at)
			if err != nil {
				return nil, fmt.Errorf("cache in %v: %w", c, err)
			}
			x.Exporter = newSaver(c, store, func(d ocispec.Descriptor) error {
				return ociindex.NewStoreIndex(c.at).Put(d, ociindex.Tag(cacheTag))
			})
		}
		list = append(list, x)
	}
	return list, nil
}

// saver writes a cache, and names it when it is complete.
type saver struct {
	remotecache.Exporter
	cache Cache
	name  func(ocispec.Descriptor) error // nil: its manifest has the name already
}

func newSaver(c Cache, to content.Ingester, name func(ocispec.Descriptor) error) *saver {
	return &saver{remotecache.NewExporter(to, "", true, true, compression.New(compression.Default)), c, name}
}

// Name implements remotecache.Exporter.
func (s *saver) Name() string { return "exporting cache to " + s.cache.String() }

// Finalize implements remotecache.Exporter.
func (s *saver) Finalize(ctx context.Context) (map[string]string, error) {
	said, err := s.Exporter.Finalize(ctx)
	manifest, ok := said[remotecache.ExporterResponseManifestDesc]
	if err != nil || !ok || s.name == nil {
		return said, err
	}
	var d ocispec.Descriptor
	if err := json.Unmarshal([]byte(manifest), &d); err != nil {
		return nil, err
	}
	return said, s.name(d)
}
