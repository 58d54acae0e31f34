package distribution

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is how many bytes a manifest may have. The specification wants at
// least four million.
const MaxManifest = 8 << 20

// Bounds on what a manifest says: how many things it may list, and the bytes of
// a media type.
const (
	maxParts = 1000
	maxType  = 255
)

// Manifest is a manifest of any type, byte for byte.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Body      []byte
}

// Descriptor describes the manifest.
func (m Manifest) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Body))}
}

// Document is what a manifest says.
type Document struct {
	MediaType    string              // "" where it doesn't say
	ArtifactType string              // of an image, what its configuration is, if it doesn't say
	Annotations  map[string]string   // as they are
	Subject      *ocispec.Descriptor // what it is about
	Blobs        []ocispec.Descriptor
	Manifests    []ocispec.Descriptor
}

// Parse reads a manifest. Of one of an unknown type it finds what has the form
// of OCI's. Its error is errdefs.ErrInvalidArgument.
func Parse(body []byte) (*Document, error) {
	var raw struct {
		MediaType    string               `json:"mediaType"`
		ArtifactType string               `json:"artifactType"`
		Annotations  map[string]string    `json:"annotations"`
		Subject      *ocispec.Descriptor  `json:"subject"`
		Config       *ocispec.Descriptor  `json:"config"`
		Layers       []ocispec.Descriptor `json:"layers"`
		Blobs        []ocispec.Descriptor `json:"blobs"` // of OCI's short-lived artifact manifest
		Manifests    []ocispec.Descriptor `json:"manifests"`
		FSLayers     []any                `json:"fsLayers"`
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, fmt.Errorf("the manifest is no JSON object: %w", errdefs.ErrInvalidArgument)
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("the manifest is not what it should be: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if raw.FSLayers != nil {
		return nil, fmt.Errorf("the manifest is of Docker's schema 1, which nothing supports any more: %w", errdefs.ErrInvalidArgument)
	}
	d := &Document{
		MediaType: raw.MediaType, ArtifactType: raw.ArtifactType, Annotations: raw.Annotations,
		Subject: raw.Subject, Manifests: raw.Manifests, Blobs: slices.Concat(raw.Layers, raw.Blobs),
	}
	if raw.Config != nil {
		d.Blobs = append(d.Blobs, *raw.Config)
		if d.ArtifactType == "" {
			d.ArtifactType = raw.Config.MediaType
		}
	}
	return d, d.check()
}

func (d *Document) check() error {
	if n := len(d.Blobs) + len(d.Manifests); n > maxParts {
		return fmt.Errorf("the manifest lists %d parts, more than %d: %w", n, maxParts, errdefs.ErrInvalidArgument)
	}
	all := slices.Concat(d.Blobs, d.Manifests)
	if d.Subject != nil {
		all = append(all, *d.Subject)
	}
	for _, p := range all {
		if p.Digest.Validate() != nil || len(p.Digest) > 200 || p.Size < 0 || len(p.MediaType) > maxType {
			return fmt.Errorf("the manifest lists %.80q, a %.80q of %d bytes: %w", p.Digest, p.MediaType, p.Size, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// Type is the manifest's media type, or that of OCI whose form it has.
func (d *Document) Type() string {
	switch {
	case d.MediaType != "":
		return d.MediaType
	case d.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

// Elsewhere tells of a part that it needn't be in a registry: a layer that may
// not be distributed.
func Elsewhere(d ocispec.Descriptor) bool {
	return slices.Contains([]string{
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	}, d.MediaType)
}
