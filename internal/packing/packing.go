// Package packing takes a layer out of what it is packed in, ahead of what reads
// it, and says what it was.
package packing

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Tar is the tar that a layer's blob holds. One processor unpacks and hashes it
// while another one reads. Close ends that.
type Tar struct {
	*ahead
	layer  io.ReadCloser
	digest digest.Digester
}

// Open takes a layer out of its blob. Whether it is packed, with gzip or zstd, its
// first bytes tell, whatever it is called; what is called by neither name is left
// to containerd's stream processors, which payloads are for. nil is none.
//
// A layer that unpacks to more bytes than [rootfs.LimitsOf] ctx allow, or to more than
// 4 GiB and more times its size, is refused, with errdefs.ErrInvalidArgument, while it
// is read. Reading ends with ctx.
func Open(ctx context.Context, mediaType string, blob io.Reader, payloads map[string]typeurl.Any) (*Tar, error) {
	packed := &counter{from: blob}
	layer, err := unpack(ctx, mediaType, packed, payloads)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mediaType, err)
	}
	t := &Tar{layer: layer, digest: digest.Canonical.Digester()}
	t.ahead = readAhead(io.TeeReader(bound(ctx, layer, packed), t.digest.Hash()))
	return t, nil
}

func unpack(ctx context.Context, mediaType string, packed io.Reader, payloads map[string]typeurl.Any) (io.ReadCloser, error) {
	if _, err := images.DiffCompression(ctx, mediaType); err != nil {
		return processed(ctx, mediaType, packed, payloads)
	}
	return decompress(packed)
}

// Decompress takes what is packed with gzip or zstd, as its first bytes tell, out of
// that, and leaves what is not as it is. It refuses what Open does.
func Decompress(ctx context.Context, packed io.Reader) (io.ReadCloser, error) {
	counted := &counter{from: packed}
	r, err := decompress(counted)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{bound(ctx, r, counted), r}, nil
}

func decompress(packed io.Reader) (io.ReadCloser, error) {
	blob := bufio.NewReaderSize(packed, 64<<10)
	head, err := blob.Peek(10)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if compression.DetectCompression(head) == compression.Zstd {
		// Of the layers that are unpacked at a time each has a processor. More than
		// that, and room to read ahead, takes up memory for nothing.
		z, err := zstd.NewReader(blob, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return compression.DecompressStream(blob)
}

// maxWindow is how far back a layer may refer, all of which takes up memory.
const maxWindow = 64 << 20

// processed unpacks what has a type of its own.
func processed(ctx context.Context, mediaType string, packed io.Reader, payloads map[string]typeurl.Any) (io.ReadCloser, error) {
	layer := diff.NewProcessorChain(mediaType, packed)
	var err error
	for layer.MediaType() != ocispec.MediaTypeImageLayer {
		if layer, err = diff.GetProcessor(ctx, layer, payloads); err != nil {
			return nil, err
		}
	}
	return layer, nil
}

// A layer may unpack to so many bytes whatever its size: gzip packs zeros a thousand
// times, and zstd more, where layers of programs and their data unpack to two or three
// times their size.
var freely int64 = 4 << 30

// bounded is what something unpacks to.
type bounded struct {
	ctx    context.Context
	from   io.Reader
	n      int64
	packed *counter
	most   rootfs.Limits
}

func bound(ctx context.Context, from io.Reader, packed *counter) *bounded {
	return &bounded{ctx: ctx, from: from, packed: packed, most: rootfs.LimitsOf(ctx)}
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	b.n += int64(n)
	if b.n > b.most.Bytes {
		return 0, fmt.Errorf("it unpacks to more than %d bytes: %w", b.most.Bytes, errdefs.ErrInvalidArgument)
	}
	if b.n > freely && b.n/b.most.Ratio > b.packed.n.Load() {
		return 0, fmt.Errorf("it unpacks to more than %d GiB, and to more than %d times its size: %w", freely>>30, b.most.Ratio, errdefs.ErrInvalidArgument)
	}
	return n, err
}

// counter counts what is read, which another goroutine may do.
type counter struct {
	from io.Reader
	n    atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Rest reads what is left, which counts for the digest, and describes the whole.
func (t *Tar) Rest() (ocispec.Descriptor, error) {
	if _, err := io.Copy(io.Discard, t); err != nil {
		return ocispec.Descriptor{}, err
	}
	if late, ok := t.layer.(interface{ Err() error }); ok && late.Err() != nil {
		return ocispec.Descriptor{}, late.Err()
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: t.n, Digest: t.digest.Digest()}, nil
}

// Close ends the reading.
func (t *Tar) Close() error {
	t.ahead.Close() // before what it reads
	return t.layer.Close()
}
