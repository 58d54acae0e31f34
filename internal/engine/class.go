package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Class is what a container takes from its image.
type Class struct {
	Image ocispec.Image // shared: not to be changed
	JSON  []byte        // Image as it is written, with what is Docker's alone
}

// classLimit is how many classes are remembered. A program uses few.
const classLimit = 64

// classes are those read before. That of a digest never changes.
type classes struct {
	mu  sync.Mutex
	all map[digest.Digest]Class
}

func (c *classes) get(d digest.Digest) (Class, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.all[d]
	return k, ok
}

func (c *classes) put(d digest.Digest, k Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= classLimit {
		c.all = map[digest.Digest]Class{}
	}
	c.all[d] = k
}

// Class reads the configuration of an image, whose manifest is img's target.
func (e *Engine) Class(ctx context.Context, img containerd.Image) (Class, error) {
	manifest := img.Target().Digest
	if k, ok := e.classes.get(manifest); ok {
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
	e.classes.put(manifest, k)
	return k, nil
}
