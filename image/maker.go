package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/internal/verbatim"
	"github.com/ctorhq/ctor/layer"
)

// uncompressedLabel is where containerd keeps what a layer unpacks to.
const uncompressedLabel = "containerd.io/uncompressed"

// maker writes an image into the content store.
type maker struct {
	ctor   *ctor.Engine
	cs     *apart
	layers []ocispec.Descriptor
	config configFile
}

// newMaker begins with what base has.
func newMaker(base *Image) *maker {
	m := &maker{ctor: base.ctor, cs: newApart(base.e.Client.ContentStore()), config: base.config}
	for _, d := range base.parts.Layers {
		d.MediaType = ociType(d.MediaType)
		m.layers = append(m.layers, d)
	}
	m.config.RootFS.DiffIDs = slices.Clone(m.config.RootFS.DiffIDs)
	m.config.History = slices.Clone(m.config.History)
	// A history is optional, but the lines of new layers must be theirs.
	made := 0
	for _, h := range m.config.History {
		if !h.EmptyLayer {
			made++
		}
	}
	for ; made < len(m.layers); made++ {
		m.config.History = append(m.config.History, ocispec.History{})
	}
	return m
}

// ociType is OCI's name for a layer's media type: a manifest of OCI's lists no
// layers of Docker's, although they are the same.
func ociType(mediaType string) string {
	switch mediaType {
	case images.MediaTypeDockerSchema2Layer:
		return ocispec.MediaTypeImageLayer
	case images.MediaTypeDockerSchema2LayerGzip:
		return ocispec.MediaTypeImageLayerGzip
	case images.MediaTypeDockerSchema2LayerZstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return mediaType
}

// add puts a layer on top. One that an image has already stays as it is, unless it
// says how it is to be stored.
func (m *maker) add(ctx context.Context, l layer.Layer) error {
	var d ocispec.Descriptor
	err := error(errdefs.ErrNotFound)
	if l.Compression == (layer.Compression{}) {
		d, err = m.stored(ctx, l)
	}
	if errdefs.IsNotFound(err) {
		d, err = m.compress(ctx, l)
	}
	if err != nil {
		return err
	}
	m.append(d, l.DiffID, ocispec.History{CreatedBy: l.CreatedBy})
	return nil
}

// stored finds the blob of a layer of an image in the store. A layer that is a
// plain tar is left to compress, wherever it is, so that a layer made with
// package layer gives the same blob everywhere.
func (m *maker) stored(ctx context.Context, l layer.Layer) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: ociType(l.MediaType), Digest: l.Digest, Size: l.Size}
	if l.Digest == l.DiffID || l.Digest.Validate() != nil || !images.IsLayerType(d.MediaType) {
		return d, errdefs.ErrNotFound
	}
	if err := engine.Of(m.ctor).HoldContent(ctx, d.Digest); err != nil {
		return d, err
	}
	info, err := m.cs.Info(ctx, d.Digest)
	if err == nil && info.Size != d.Size {
		return d, fmt.Errorf("%s has %d bytes, not %d: %w", d.Digest, info.Size, d.Size, errdefs.ErrInvalidArgument)
	}
	return d, err
}

// compress stores a layer.
func (m *maker) compress(ctx context.Context, l layer.Layer) (ocispec.Descriptor, error) {
	return m.store(ctx, l.Compression, func(w io.Writer) (digest.Digest, error) {
		tar, err := l.Open(ctx)
		if err != nil {
			return "", err
		}
		defer tar.Close()
		_, err = io.Copy(w, tar)
		return l.DiffID, err
	})
}

// store stores the tar that write writes, compressed. write gives its digest.
func (m *maker) store(ctx context.Context, c layer.Compression, write func(io.Writer) (digest.Digest, error)) (d ocispec.Descriptor, err error) {
	w, err := content.OpenWriter(ctx, m.cs, content.WithRef("layer-"+strconv.Itoa(len(m.layers))))
	if err != nil {
		return d, err
	}
	defer w.Close()
	z, err := c.NewWriter(w)
	if err != nil {
		return d, err
	}
	diffID, err := write(z)
	if err != nil {
		return d, err
	}
	if err := z.Close(); err != nil {
		return d, err
	}
	st, err := w.Status()
	if err != nil {
		return d, err
	}
	d = ocispec.Descriptor{MediaType: c.MediaType(), Digest: w.Digest(), Size: st.Offset}
	err = w.Commit(ctx, 0, "", content.WithLabels(map[string]string{uncompressedLabel: diffID.String()}))
	if errdefs.IsAlreadyExists(err) {
		err = nil
	}
	return d, err
}

// append puts a layer that is in the store on top.
func (m *maker) append(d ocispec.Descriptor, diffID digest.Digest, h ocispec.History) {
	m.layers = append(m.layers, d)
	m.config.RootFS.DiffIDs = append(m.config.RootFS.DiffIDs, diffID)
	m.config.History = append(m.config.History, h)
}

// finish writes configuration and manifest, and gives them the name.
func (m *maker) finish(ctx context.Context, r reference.Reference) (*Image, error) {
	i, err := m.assemble(ctx, r)
	if err != nil {
		return nil, err
	}
	return i, m.name(ctx, i)
}

// name gives the image its name.
func (m *maker) name(ctx context.Context, i *Image) error {
	if err := name(ctx, i.e, i.ref, i.target); err != nil {
		return err
	}
	m.cs.keep()
	return nil
}

// assemble writes configuration and manifest.
func (m *maker) assemble(ctx context.Context, r reference.Reference) (*Image, error) {
	if m.layers == nil { // null is no list
		m.layers = []ocispec.Descriptor{}
	}
	if m.config.RootFS.DiffIDs == nil {
		m.config.RootFS.DiffIDs = []digest.Digest{}
	}
	// Only what OCI knows can be a caller's; the rest came as JSON.
	if b, err := json.Marshal(m.config.spec()); err != nil {
		return nil, err
	} else if err := verbatim.Check(b); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	config, err := m.write(ctx, ocispec.MediaTypeImageConfig, m.config, nil)
	if err != nil {
		return nil, err
	}
	// These labels are what keeps the parts as long as the whole.
	refs := map[string]string{"containerd.io/gc.ref.content.config": config.Digest.String()}
	for n, l := range m.layers {
		refs["containerd.io/gc.ref.content.l."+strconv.Itoa(n)] = l.Digest.String()
	}
	target, err := m.write(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    m.layers,
	}, refs)
	if err != nil {
		return nil, err
	}
	return load(ctx, m.ctor, r, target, nil)
}

func (m *maker) write(ctx context.Context, mediaType string, v any, labels map[string]string) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, content.WriteBlob(ctx, m.cs, d.Digest.String(), bytes.NewReader(b), d, content.WithLabels(labels))
}
