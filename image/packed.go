package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/layer"
)

// packedLabel is where a manifest with layers that are not packed has the digest of the
// one in which they are, and packedRef is what keeps that as long.
const (
	packedLabel = "io.ctor.packed"
	packedRef   = "containerd.io/gc.ref.content.packed"
)

// packed is the image as other programs can read it: one that Fork has made, or that is
// made of such a one, with all of its layers packed. Any other is itself. ctx has a
// lease.
func (i *Image) packed(ctx context.Context) (*Image, error) {
	if !slices.ContainsFunc(i.parts.Layers, packing.IsFork) {
		return i, nil
	}
	key := "pack " + i.manifest.Digest.String()
	if err := i.e.Lock(ctx, key); err != nil {
		return nil, err
	}
	defer i.e.Unlock(key)
	if p, err := i.packedBefore(ctx); !errdefs.IsNotFound(err) {
		return p, err
	}
	m := newMaker(i)
	defer m.cs.abort(ctx)
	chains := identity.ChainIDs(slices.Clone(i.config.RootFS.DiffIDs))
	for n, d := range i.parts.Layers {
		if !packing.IsFork(d) {
			continue
		}
		if i.config.RootFS.DiffIDs[n] != d.Digest { // as addFork makes it
			return nil, fmt.Errorf("layer %d is a fork's, and not what the configuration says: %w", n, errdefs.ErrInvalidArgument)
		}
		var err error
		if m.layers[n], m.config.RootFS.DiffIDs[n], err = m.pack(ctx, i, d, chains[n].String()); err != nil {
			return nil, fmt.Errorf("pack layer %d: %w", n, err)
		}
	}
	p, err := m.assemble(ctx, i.ref)
	if err != nil {
		return nil, err
	}
	m.cs.keep()
	to := p.manifest.Digest.String()
	_, err = i.e.Client.ContentStore().Update(ctx, content.Info{
		Digest: i.manifest.Digest, Labels: map[string]string{packedLabel: to, packedRef: to},
	}, "labels."+packedLabel, "labels."+packedRef)
	return p, err
}

// packedBefore is the image that packed has made. ErrNotFound is that there is none.
func (i *Image) packedBefore(ctx context.Context) (*Image, error) {
	cs := i.e.Client.ContentStore()
	info, err := cs.Info(ctx, i.manifest.Digest)
	if err != nil {
		return nil, err
	}
	d := digest.Digest(info.Labels[packedLabel])
	if d.Validate() != nil {
		return nil, errdefs.ErrNotFound
	}
	if info, err = cs.Info(ctx, d); err != nil {
		return nil, err
	}
	p, err := load(ctx, i.ctor, i.ref, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: info.Size}, nil)
	if err == nil {
		err = p.hold(ctx)
	}
	return p, err
}

// pack packs a layer.
func (m *maker) pack(ctx context.Context, i *Image, d ocispec.Descriptor, chain string) (_ ocispec.Descriptor, diffID digest.Digest, err error) {
	var about mark
	if d.Size > maxDocument {
		return d, "", fmt.Errorf("its description has %d bytes, more than %d: %w", d.Size, maxDocument, errdefs.ErrInvalidArgument)
	}
	if err := readJSON(ctx, m.cs, d, &about); err != nil {
		return d, "", err
	}
	key := "pack-" + rand.Text()
	mounts, err := i.e.Client.SnapshotService(i.e.Snapshotter).View(ctx, key, chain, snapshots.WithLabels(engine.OwnRoot()))
	if err != nil {
		return d, "", err
	}
	defer func() { err = errors.Join(err, i.e.RemoveSnapshot(key)) }()
	diff, err := i.e.Doors.Diff(rootfs.Written(mounts), i.e.Root)
	if err != nil {
		return d, "", err
	}
	defer func() { err = errors.Join(err, diff.Close()) }()
	diff.Made = about.Made
	tar := digest.Canonical.Digester()
	d, err = m.store(ctx, layer.Compression{}, func(w io.Writer) (digest.Digest, error) {
		err := diff.Pack(ctx, io.MultiWriter(w, tar.Hash()))
		return tar.Digest(), err
	})
	return d, tar.Digest(), err
}
