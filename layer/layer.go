package layer

import (
	"context"
	_ "crypto/sha256" // a DiffID may be either: OCI image-spec, descriptor.md, "Registered algorithms"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is one filesystem change set. It is immutable and may be copied, kept
// and opened by several goroutines at once. To give it another CreatedBy or
// Compression, set the field of a copy. The zero Layer holds nothing: its Err and Open say so.
type Layer struct {
	// Digest is that of the blob as it is stored, compressed or not.
	Digest digest.Digest
	// DiffID is the digest of the uncompressed tar, which the image's config
	// lists (OCI image-spec, config.md, "rootfs"). It equals Digest when the blob
	// isn't compressed.
	DiffID digest.Digest
	// Size of the blob as it is stored, in bytes. It is always known.
	Size int64
	// MediaType of the blob, one of the layer types of OCI image-spec,
	// media-types.md, or Docker's names for them.
	MediaType string
	// CreatedBy is the line for the image's history; "" = unknown.
	CreatedBy string
	// Compression says how an image is to store the layer. The zero value is as the
	// layer is stored already, if an image has it, else gzip.
	Compression Compression

	open func(context.Context) (io.ReadCloser, error)
	err  error // why there is nothing to open
}

var errZero = fmt.Errorf("layer: the zero Layer holds nothing, make one with FromFS, FromTar or New: %w", errdefs.ErrInvalidArgument)

// New returns a layer whose identity is known already, such as one in a store.
//
// The descriptor's digest, size and media type are those of the blob as stored,
// diffID is that of its uncompressed tar, and open gives that tar. Each
// [Layer.Open] calls open, from several goroutines perhaps, and hands it its
// context; a Read of what it returns should fail when that context ends. New
// opens nothing: what open gives is checked against diffID when it is read.
//
// A digest that is none, a negative size or a nil open make a layer whose Err is
// ErrInvalidArgument.
func New(desc ocispec.Descriptor, diffID digest.Digest, open func(context.Context) (io.ReadCloser, error)) Layer {
	if err := check(desc, diffID, open != nil); err != nil {
		return failed(fmt.Errorf("layer: new: %w: %w", err, errdefs.ErrInvalidArgument))
	}
	return Layer{
		Digest:    desc.Digest,
		DiffID:    diffID,
		Size:      desc.Size,
		MediaType: desc.MediaType,
		open:      open,
	}
}

func check(desc ocispec.Descriptor, diffID digest.Digest, opens bool) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	if err := diffID.Validate(); err != nil {
		return fmt.Errorf("diff id %q: %w", diffID, err)
	}
	if desc.Size < 0 {
		return fmt.Errorf("size %d is negative", desc.Size)
	}
	if !opens {
		return errors.New("open is nil")
	}
	return nil
}

// failed is a layer without identity that remembers why.
func failed(err error) Layer { return Layer{err: err} }

// made is a layer of this package's own making: stored as a plain tar, so that
// its two digests are one.
func made(id digest.Digest, size int64, open func(context.Context) (io.ReadCloser, error)) Layer {
	return Layer{
		Digest:    id,
		DiffID:    id,
		Size:      size,
		MediaType: ocispec.MediaTypeImageLayer,
		open:      open,
	}
}

// Err reports what FromFS or New met when they made the layer, and is nil for a
// good one. A function that takes layers as arguments checks it first; Open
// returns the same error.
func (l Layer) Err() error {
	switch {
	case l.err != nil:
		return l.err
	case l.open == nil:
		return errZero
	}
	return nil
}

// Open returns the layer's uncompressed tar. Close the reader; closing it before
// its end is fine.
//
// Read to its end, the reader has checked every byte: where DiffID doesn't match,
// the last Read returns an error of class ErrDataLoss in place of io.EOF. A
// consumer that stops earlier, as [archive/tar.Reader] does behind the last
// entry, has to read the rest for that: io.Copy(io.Discard, r).
//
// Reads fail with ctx.Err() once ctx ends.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	if err := l.Err(); err != nil {
		return nil, err
	}
	rc, err := l.openChecked(ctx)
	if err != nil {
		return nil, fmt.Errorf("layer: open %s: %w", l.DiffID, err)
	}
	return rc, nil
}

func (l Layer) openChecked(ctx context.Context) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The fields are the caller's to set in a copy, and an unknown algorithm
	// would panic below.
	if err := l.DiffID.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	rc, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	if rc == nil {
		return nil, fmt.Errorf("open gave neither a reader nor an error: %w", errdefs.ErrInvalidArgument)
	}
	return &reader{ctx: ctx, rc: rc, want: l.DiffID, hash: l.DiffID.Algorithm().Hash()}, nil
}
