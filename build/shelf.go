package build

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/registry"
)

// shelf is the place of a cache in a registry, as BuildKit reads and writes one: by
// the engine's own client, with its credentials.
type shelf struct {
	registry *registry.Registry
	ref      reference.Reference
	dir      string // for blobs that are being sent: after a broken connection a blob is sent again from here
}

var _ content.Ingester = (*shelf)(nil)

func newShelf(ref string, o *registry.Options) (*shelf, error) {
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	client, err := registry.New(r.Host, o)
	if err != nil {
		return nil, err
	}
	return &shelf{registry: client, ref: r}, nil
}

// Fetch implements remotes.Fetcher.
func (s *shelf) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return s.registry.Fetch(ctx, s.ref.Repository, d)
}

// Writer implements content.Ingester.
func (s *shelf) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if !images.IsManifestType(o.Desc.MediaType) {
		there, err := s.registry.Exists(ctx, s.ref.Repository, o.Desc)
		if err != nil {
			return nil, err
		}
		if there {
			return nil, errdefs.ErrAlreadyExists
		}
	}
	f, err := os.CreateTemp(s.dir, "cache-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &parcel{shelf: s, d: o.Desc, file: f, sum: digest.Canonical.Digester(), begun: time.Now()}, nil
}

// parcel is a blob, or the manifest, on its way: a file without a name.
type parcel struct {
	*shelf
	d     ocispec.Descriptor
	file  *os.File
	sum   digest.Digester
	size  int64
	begun time.Time
}

func (p *parcel) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.sum.Hash().Write(b[:n])
	p.size += int64(n)
	return n, err
}

func (p *parcel) Digest() digest.Digest { return p.sum.Digest() }

func (p *parcel) Status() (content.Status, error) {
	return content.Status{Ref: p.d.Digest.String(), Offset: p.size, Total: p.d.Size, Expected: p.d.Digest, StartedAt: p.begun, UpdatedAt: time.Now()}, nil
}

// Truncate implements content.Writer.
func (p *parcel) Truncate(size int64) error {
	if size != 0 {
		return errdefs.ErrNotImplemented
	}
	p.sum, p.size = digest.Canonical.Digester(), 0
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// Commit implements content.Writer: it sends the file.
func (p *parcel) Commit(ctx context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d := p.d
	d.Size = p.size
	if expected != "" {
		d.Digest = expected
	}
	if images.IsManifestType(d.MediaType) {
		return p.registry.PushManifest(ctx, p.ref.String(), d, p.file)
	}
	return p.registry.Push(ctx, p.ref.Repository, d, p.file)
}

func (p *parcel) Close() error { return p.file.Close() }
