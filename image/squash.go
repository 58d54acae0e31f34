package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/layer"
)

// Squash makes an image with the files of this one, and all else, in one layer, and
// stores it as ref, which may be the image's own name. What a layer has removed or
// replaced is in it no more. See [Image.SquashFrom].
func (i *Image) Squash(ctx context.Context, ref string) (*Image, error) {
	return i.SquashFrom(ctx, ref, 0)
}

// SquashFrom keeps the n lowest layers, which other images may share, and makes one
// layer of those above them. Whiteouts (OCI image-spec, layer.md) are applied, and the
// new layer has some for what is gone of the n. The history keeps its lines: those
// of the layers that are gone are marked as of no layer, and a new one follows. An
// image with no more than n+1 layers has nothing to squash, and is stored as ref with
// the layers that it has.
//
// The same image gives the same digest on every machine and day. Its layers have to
// be in the store, and are unpacked for that, unless they are already, as [Image.FS]
// does.
//
// Errors are ctor.ErrInvalid for a ref that can't be read, a negative n or one
// greater than the number of layers, and for a file whose name begins with ".wh.";
// ctor.ErrNotFound for an image that is not whole in the store any more.
func (i *Image) SquashFrom(ctx context.Context, ref string, n int) (_ *Image, err error) {
	defer wrap(&err, "squash image "+i.Ref()+" as", ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > len(i.parts.Layers) {
		return nil, fmt.Errorf("from layer %d of %d: %w", n, len(i.parts.Layers), errdefs.ErrInvalidArgument)
	}
	ctx, end, err := begin(ctx, i.e)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if err := i.hold(ctx); err != nil {
		return nil, err
	}
	if i, err = i.packed(ctx); err != nil {
		return nil, err
	}
	m := newMaker(i)
	defer m.cs.abort(ctx)
	if len(i.parts.Layers) > n+1 {
		if err := m.squash(ctx, i, n); err != nil {
			return nil, err
		}
	}
	return m.finish(ctx, r)
}

// squash puts one layer in the place of an image's from the n-th on.
func (m *maker) squash(ctx context.Context, i *Image, n int) error {
	times, err := i.directoryTimes(ctx)
	if err != nil {
		return err
	}
	tar := digest.Canonical.Digester()
	d, err := m.store(ctx, layer.Compression{}, func(w io.Writer) (digest.Digest, error) {
		err := i.between(ctx, n, func(d *rootfs.Diff) error {
			d.Aged = times
			return d.Pack(ctx, io.MultiWriter(w, tar.Hash()))
		})
		return tar.Digest(), err
	})
	if err != nil {
		return err
	}
	gone := len(m.layers) - n
	m.layers, m.config.RootFS.DiffIDs = m.layers[:n], m.config.RootFS.DiffIDs[:n]
	made := 0
	for k := range m.config.History {
		if h := &m.config.History[k]; !h.EmptyLayer {
			h.EmptyLayer = made >= n
			made++
		}
	}
	m.append(d, tar.Digest(), ocispec.History{Comment: fmt.Sprintf("squashed %d layers", gone)})
	return nil
}

// directoryTimes gives the times that an image's layers say of directories. On the
// disk a directory that no layer lists has the time of its unpacking, and another one
// on every machine: here it has none.
func (i *Image) directoryTimes(ctx context.Context) (func(name string) time.Time, error) {
	layers, err := i.Layers(ctx)
	if err != nil {
		return nil, err
	}
	times := map[string]time.Time{}
	for f, err := range layer.Files(ctx, layers...) {
		if err != nil {
			return nil, err
		}
		if f.Info.IsDir() {
			times[f.Path] = f.Info.ModTime()
		}
	}
	return func(name string) time.Time {
		if t, ok := times[path.Join("/", name)]; ok {
			return t
		}
		return time.Unix(0, 0)
	}, nil
}

// between gives use what is between the n lowest layers of an image and all of it.
func (i *Image) between(ctx context.Context, n int, use func(*rootfs.Diff) error) error {
	ids := i.config.RootFS.DiffIDs
	return i.e.WithLayers(ctx, i.source(), ids, func(ctx context.Context, chain string) (err error) {
		after, err := open(ctx, i.e, chain)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, after.Close()) }()
		d := &rootfs.Diff{After: after.root}
		if n > 0 {
			before, err := open(ctx, i.e, identity.ChainID(append([]digest.Digest(nil), ids[:n]...)).String())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, before.Close()) }()
			d.Before = before.root
		}
		return use(d)
	})
}
