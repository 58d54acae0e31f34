package engine

import (
	"context"
	"fmt"
	"io"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/packing"
)

// Verify sees to it that an image's layers unpack to what its configuration says:
// by that, and not by its blobs, a layer is found that was unpacked for another
// image. What is run and shown would else not be what is exported and pushed.
//
// A blob that was unpacked here, or made or read here before, is known by its
// label, and an image by memory. A blob that is not in the store contradicts
// nothing.
func (e *Engine) Verify(ctx context.Context, img containerd.Image) error {
	target := img.Target().Digest
	if e.verified.has(target) {
		return nil
	}
	// It may take reading all of it.
	key := "verify " + target.String()
	if err := e.Lock(ctx, key); err != nil {
		return err
	}
	defer e.Unlock(key)
	if e.verified.has(target) {
		return nil
	}
	manifest, err := images.Manifest(ctx, e.Client.ContentStore(), img.Target(), platforms.All)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	class, err := e.Class(ctx, img)
	if err != nil {
		return err
	}
	want := class.Image.RootFS.DiffIDs
	if len(want) != len(manifest.Layers) {
		return fmt.Errorf("the manifest lists %d layers, the configuration %d: %w", len(manifest.Layers), len(want), errdefs.ErrInvalidArgument)
	}
	whole := true
	for n, d := range manifest.Layers {
		got, err := e.diffID(ctx, d)
		if errdefs.IsNotFound(err) {
			whole = false
			continue
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		if got != want[n] {
			return fmt.Errorf("layer %s unpacks to %s, but the image's configuration says %s: %w", d.Digest, got, want[n], errdefs.ErrInvalidArgument)
		}
	}
	if whole {
		e.verified.add(target)
	}
	return nil
}

// diffID gives the digest of the tar that a layer's blob is. Whether a blob is
// compressed its first bytes say, not a media type: one blob may be listed under
// several.
func (e *Engine) diffID(ctx context.Context, d ocispec.Descriptor) (digest.Digest, error) {
	cs := e.Client.ContentStore()
	info, err := cs.Info(ctx, d.Digest)
	if err != nil {
		return "", err
	}
	ra, err := cs.ReaderAt(ctx, ocispec.Descriptor{Digest: d.Digest, Size: info.Size})
	if err != nil {
		return "", err
	}
	defer ra.Close()
	canonical := d.Digest.Algorithm() == digest.Canonical
	var head [10]byte
	n, err := ra.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	plain := compression.DetectCompression(head[:n]) == compression.Uncompressed
	if plain && canonical {
		return d.Digest, nil
	}
	// The label can't have come with the image. But where a media type said that
	// the blob was not compressed, it is the blob's own digest, whatever that is.
	known := digest.Digest(info.Labels[labels.LabelUncompressed])
	if known != "" && (plain || canonical && known != d.Digest) {
		return known, nil
	}
	got, err := uncompressed(ctx, content.NewReader(ra))
	if err != nil {
		return "", err
	}
	info.Labels = map[string]string{labels.LabelUncompressed: got.String()}
	_, err = cs.Update(ctx, info, "labels."+labels.LabelUncompressed)
	return got, err
}

// uncompressed reads a blob to its end, and gives the digest of what it holds.
func uncompressed(ctx context.Context, blob io.Reader) (digest.Digest, error) {
	tar, err := packing.Open(ctx, ocispec.MediaTypeImageLayer, blob, nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	defer tar.Close()
	d, err := tar.Rest()
	if cerr := ctx.Err(); cerr != nil {
		return "", cerr
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return d.Digest, nil
}

// verified are images, by their manifests, of which Verify has found everything
// in order. A digest's content never changes.
type verified struct {
	mu  sync.Mutex
	all map[digest.Digest]struct{}
}

// verifiedLimit is how many images are remembered.
const verifiedLimit = 1000

func (v *verified) has(d digest.Digest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.all[d]
	return ok
}

func (v *verified) add(d digest.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil || len(v.all) >= verifiedLimit {
		v.all = map[digest.Digest]struct{}{}
	}
	v.all[d] = struct{}{}
}
