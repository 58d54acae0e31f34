package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/layer"
)

// New makes an image for this machine's platform from layers, base first, and
// stores it as ref. Without layers it is an empty directory. The layers are
// stored compressed with gzip. It has no creation time, so that the same
// configuration and layers make the same image, to the digest.
func New(ctx context.Context, e *ctor.Engine, ref string, cfg ocispec.ImageConfig, layers ...layer.Layer) (*Image, error) {
	config := ocispec.Image{Platform: platforms.DefaultSpec(), Config: cfg}
	config.RootFS.Type = "layers"
	return make1(ctx, e, "new image", ref, config, nil, layers)
}

// Derive makes an image that extends this one: with the configuration as edit
// leaves it, nil changes nothing, and further layers on top. It is stored as
// ref; i stays what it is.
func (i *Image) Derive(ctx context.Context, ref string, edit func(*ocispec.ImageConfig), add ...layer.Layer) (*Image, error) {
	config := i.Spec()
	config.Created = nil
	if edit != nil {
		edit(&config.Config)
	}
	return make1(ctx, i.ctor, "derive image "+i.Ref(), ref, config, i.layers, add)
}

// make1 makes one image.
func make1(ctx context.Context, e *ctor.Engine, op, ref string, config ocispec.Image, base []ocispec.Descriptor, add []layer.Layer) (_ *Image, err error) {
	defer wrap(&err, op, ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	for n, l := range add {
		if err := l.Err(); err != nil {
			return nil, fmt.Errorf("layer %d: %w", n, err)
		}
	}
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	leased, release, err := in.Lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release(&err)
	m := maker{cs: in.Client.ContentStore(), ref: r.String(), layers: slices.Clone(base), config: config}
	for n, l := range add {
		if err := m.add(leased, l); err != nil {
			return nil, engine.Cause(ctx, fmt.Errorf("layer %d: %w", n, err))
		}
	}
	i, err := m.finish(leased, e, r)
	return i, engine.Cause(ctx, err)
}

// maker writes an image into the content store.
type maker struct {
	cs     content.Store
	ref    string
	layers []ocispec.Descriptor
	config ocispec.Image
}

// add stores a layer, compressed.
func (m *maker) add(ctx context.Context, l layer.Layer) (err error) {
	w, err := content.OpenWriter(ctx, m.cs, content.WithRef("ctor-layer-"+l.DiffID.String()))
	if err != nil {
		return err
	}
	defer w.Close()
	// An ingest of that name, of a call that failed, may have been there.
	if err := w.Truncate(0); err != nil {
		return err
	}
	tar, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer tar.Close()
	z := gzip.NewWriter(w)
	if _, err := io.Copy(z, tar); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	st, err := w.Status()
	if err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: w.Digest(), Size: st.Offset}
	if err := w.Commit(ctx, 0, "", content.WithLabels(map[string]string{
		"containerd.io/uncompressed": l.DiffID.String(),
	})); err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	m.append(d, l.DiffID, l.CreatedBy, nil)
	return nil
}

// append puts a layer that is in the store on top.
func (m *maker) append(d ocispec.Descriptor, diffID digest.Digest, createdBy string, created *time.Time) {
	m.layers = append(m.layers, d)
	m.config.RootFS.DiffIDs = append(m.config.RootFS.DiffIDs, diffID)
	m.config.History = append(m.config.History, ocispec.History{CreatedBy: createdBy, Created: created})
}

// finish writes configuration and manifest, and gives them the name.
func (m *maker) finish(ctx context.Context, e *ctor.Engine, r reference.Reference) (*Image, error) {
	config, err := m.write(ctx, ocispec.MediaTypeImageConfig, m.config, nil)
	if err != nil {
		return nil, err
	}
	if m.layers == nil {
		m.layers = []ocispec.Descriptor{} // null is no list
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
	i, err := load(ctx, e, r, target, nil)
	if err != nil {
		return nil, err
	}
	return i, store(ctx, i.e, r, target)
}

func (m *maker) write(ctx context.Context, mediaType string, v any, labels map[string]string) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, content.WriteBlob(ctx, m.cs, "ctor-"+d.Digest.String(), bytes.NewReader(b), d, content.WithLabels(labels))
}
