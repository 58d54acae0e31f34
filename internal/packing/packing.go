// Package packing takes a layer out of what it is packed in, ahead of what reads
// it, and says what it was.
package packing

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tar is the tar that a layer's blob holds. One processor unpacks and hashes it
// while another one reads. Close ends that.
type Tar struct {
	*ahead
	layer  diff.StreamProcessor
	digest digest.Digester
}

// Open takes a layer out of its blob. Of one that is called a plain tar the first
// bytes tell whether it is packed, as they do for Docker's types. payloads are for
// containerd's own stream processors; nil is none.
func Open(ctx context.Context, mediaType string, blob io.Reader, payloads map[string]typeurl.Any) (*Tar, error) {
	if packing, err := images.DiffCompression(ctx, mediaType); err == nil && packing == "" {
		mediaType = images.MediaTypeDockerSchema2Layer
	}
	layer := diff.NewProcessorChain(mediaType, blob)
	var err error
	for first := true; first || layer.MediaType() != ocispec.MediaTypeImageLayer; first = false {
		if layer, err = diff.GetProcessor(ctx, layer, payloads); err != nil {
			return nil, fmt.Errorf("%s: %w", mediaType, err)
		}
	}
	t := &Tar{layer: layer, digest: digest.Canonical.Digester()}
	t.ahead = readAhead(io.TeeReader(layer, t.digest.Hash()))
	return t, nil
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
