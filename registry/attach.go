package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
)

// Attach publishes files that are about the manifest that ref names, such as a
// signature or a bill of materials, and returns the descriptor of the artifact
// that they make (OCI image-spec, manifest.md). A client that has the image finds it
// by [Registry.Referrers], and reads it by [Registry.Files]. The same files make
// the same artifact. artifactType says what they are, as a media type.
//
// The error is ErrNotFound if there is no such manifest, and ErrInvalidArgument
// for an artifactType that is none and for a file without a name.
func (r *Registry) Attach(ctx context.Context, ref string, artifactType string, files map[string][]byte) (ocispec.Descriptor, error) {
	const op = "attach to"
	name, err := reference.ParseOn(r.host, ref)
	if err == nil {
		err = checkArtifact(artifactType, files)
	}
	if err != nil {
		return ocispec.Descriptor{}, r.failed(ctx, op, "", err)
	}
	subject, err := r.origin.describe(ctx, name)
	if err != nil {
		return ocispec.Descriptor{}, r.failed(ctx, op, name.Name(), err)
	}
	empty := ocispec.DescriptorEmptyJSON
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: empty, Subject: &subject,
	}
	blobs := map[digest.Digest][]byte{empty.Digest: empty.Data}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		l := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(files[file]), Size: int64(len(files[file])),
			Annotations: map[string]string{ocispec.AnnotationTitle: file}}
		m.Layers = append(m.Layers, l)
		blobs[l.Digest] = files[file]
	}
	if len(files) == 0 {
		m.Layers = []ocispec.Descriptor{empty}
	}
	for d, b := range blobs {
		if err := r.keep(ctx, name.Repository, ocispec.Descriptor{Digest: d, Size: int64(len(b))}, b); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, r.failed(ctx, op, name.Name(), err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, ArtifactType: artifactType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, r.PushManifest(ctx, name.Repository+"@"+d.Digest.String(), d, bytes.NewReader(b))
}

func checkArtifact(artifactType string, files map[string][]byte) error {
	if _, _, err := mime.ParseMediaType(artifactType); err != nil {
		return fmt.Errorf("artifact type %.80q: %w: %w", artifactType, err, errdefs.ErrInvalidArgument)
	}
	if _, ok := files[""]; ok {
		return fmt.Errorf("a file has no name: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

// keep uploads a blob unless it is there.
func (r *Registry) keep(ctx context.Context, repo string, d ocispec.Descriptor, b []byte) error {
	there, err := r.Exists(ctx, repo, d)
	if err != nil || there {
		return err
	}
	return r.Push(ctx, repo, d, bytes.NewReader(b))
}

// Files reads an artifact that [Registry.Referrers] lists or [Registry.Attach]
// made, by the names of its files; a part without a name goes by its digest.
// Their names are the publisher's: they may lead out of any directory. All of it
// is compared to its digests; an artifact of more than 64 MiB is ErrOutOfRange.
func (r *Registry) Files(ctx context.Context, repo string, d ocispec.Descriptor) (map[string][]byte, error) {
	b, err := r.read(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, r.failed(ctx, "read", repo+"@"+d.Digest.String(), fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument))
	}
	files := map[string][]byte{}
	left := int64(maxRead)
	for _, l := range m.Layers {
		if l.Size < 0 || l.Size > left {
			return nil, r.failed(ctx, "read", repo+"@"+d.Digest.String(), fmt.Errorf("an artifact of more than %d bytes: %w", maxRead, errdefs.ErrOutOfRange))
		}
		left -= l.Size
		name := l.Annotations[ocispec.AnnotationTitle]
		if name == "" {
			name = l.Digest.String()
		}
		if l.MediaType == ocispec.MediaTypeEmptyJSON {
			continue
		}
		if files[name], err = r.read(ctx, repo, ocispec.Descriptor{Digest: l.Digest, Size: l.Size}); err != nil {
			return nil, err
		}
	}
	return files, nil
}
