package packing

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ForkType is the media type of a layer that is not packed: its blob says nothing but
// which it is, and its files are one engine's. Nothing that unpacks layers takes the
// blob for one.
const ForkType = "application/vnd.oci.image.layer.v1.ctor.fork"

// ErrFork refuses an image with such a layer that comes from outside.
var ErrFork = fmt.Errorf("a layer is a fork's, which has no files but in the engine that made it; when that pushes or exports the image, it is packed: %w", errdefs.ErrInvalidArgument)

// IsFork tells whether a layer is not packed.
func IsFork(d ocispec.Descriptor) bool { return d.MediaType == ForkType }

// Lacks tells whether a manifest lists a layer that is not packed.
func Lacks(manifest []byte) bool {
	var m struct{ Layers []ocispec.Descriptor }
	return json.Unmarshal(manifest, &m) == nil &&
		slices.ContainsFunc(m.Layers, IsFork)
}
