package registry

import (
	"bytes"
	"cmp"
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

// maxFiles bounds the parts of an artifact that Files reads, each by a request.
const maxFiles = 1000

// Files reads an artifact that [Registry.Referrers] lists or [Registry.Attach]
// made, by the names of its files; a part without a name goes by its digest.
// Their names are the publisher's: they may lead out of any directory. All of it
// is compared to its digests.
//
// An artifact of more than 64 MiB or 1000 parts is ErrOutOfRange, and one with two
// files of one name ErrInvalidArgument, before any of its parts is asked for.
func (r *Registry) Files(ctx context.Context, repo string, d ocispec.Descriptor) (map[string][]byte, error) {
	op, name := "read", repo+"@"+d.Digest.String()
	if err := checkManifest(d); err != nil {
		return nil, r.failed(ctx, op, name, err)
	}
	b, err := r.read(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	parts, err := filesOf(b)
	if err != nil {
		return nil, r.failed(ctx, op, name, err)
	}
	files := map[string][]byte{}
	for name, part := range parts {
		if files[name], err = r.read(ctx, repo, part); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// filesOf are the parts that an artifact's manifest lists, if they are bearable.
func filesOf(manifest []byte) (map[string]ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if len(m.Layers) > maxFiles {
		return nil, fmt.Errorf("an artifact of %d parts, more than %d: %w", len(m.Layers), maxFiles, errdefs.ErrOutOfRange)
	}
	parts := map[string]ocispec.Descriptor{}
	left := int64(maxRead)
	for _, l := range m.Layers {
		if l.Size < 0 {
			return nil, fmt.Errorf("%.80q: negative size %d: %w", l.Digest, l.Size, errdefs.ErrInvalidArgument)
		}
		if left -= l.Size; left < 0 {
			return nil, fmt.Errorf("an artifact of more than %d bytes: %w", maxRead, errdefs.ErrOutOfRange)
		}
		if l.MediaType == ocispec.MediaTypeEmptyJSON {
			continue
		}
		name := cmp.Or(l.Annotations[ocispec.AnnotationTitle], l.Digest.String())
		if other, ok := parts[name]; ok && other.Digest != l.Digest {
			return nil, fmt.Errorf("an artifact with two files %.80q: %w", name, errdefs.ErrInvalidArgument)
		}
		parts[name] = ocispec.Descriptor{Digest: l.Digest, Size: l.Size}
	}
	return parts, nil
}
