package engine

import (
	"context"
	"encoding/json"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Class is what a container takes from its image.
type Class struct {
	Image ocispec.Image // shared: not to be changed
	JSON  []byte        // Image as it is written, with what is Docker's alone
}

// Image gives an image's manifest and its name as the client has an image, whatever
// platform it is for.
func (e *Engine) Image(ref string, manifest ocispec.Descriptor) containerd.Image {
	return containerd.NewImageWithPlatform(e.Client, images.Image{Name: ref, Target: manifest}, platforms.All)
}

// Class reads the configuration of an image, whose manifest is img's target.
func (e *Engine) Class(ctx context.Context, img containerd.Image) (Class, error) {
	manifest := img.Target().Digest
	if k, ok := e.classes.Get(manifest); ok {
		return k, nil
	}
	desc, err := img.Config(ctx)
	if err != nil {
		return Class{}, err
	}
	blob, err := content.ReadBlob(ctx, img.ContentStore(), desc)
	if err != nil {
		return Class{}, err
	}
	k := Class{JSON: blob}
	if err := json.Unmarshal(blob, &k.Image); err != nil {
		return Class{}, fmt.Errorf("image configuration: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	e.classes.Put(manifest, k)
	return k, nil
}
