package packing

import (
	"encoding/json"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ForkType is the media type of a layer that is not packed: its blob says nothing but
// which it is, and its files are one engine's. Nothing that unpacks layers takes the
// blob for one.
const ForkType = "application/vnd.oci.image.layer.v1.ctor.fork"

// Lacks tells whether a manifest lists a layer that is not packed.
func Lacks(manifest []byte) bool {
	var m struct{ Layers []ocispec.Descriptor }
	return json.Unmarshal(manifest, &m) == nil &&
		slices.ContainsFunc(m.Layers, func(d ocispec.Descriptor) bool { return d.MediaType == ForkType })
}
