package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
)

// CommitOptions change how Commit works. nil is the zero value.
type CommitOptions struct {
	// Edit changes the configuration that the new image inherits. nil leaves
	// it as the container's image has it.
	Edit func(*ocispec.ImageConfig)

	// Author and Message go into the image's history.
	Author, Message string

	// NoPause leaves a running container running, at the risk of an image of
	// half-written files.
	NoPause bool
}

// Commit makes an image of a container: its own image plus one layer, what
// the container has changed. A running container is paused meanwhile. What is
// in mounts is not part of it.
func Commit(ctx context.Context, c *container.Container, ref string, o *CommitOptions) (_ *Image, err error) {
	defer wrap(&err, fmt.Sprintf("commit container %q as", c.ID()), ref)
	if o == nil {
		o = &CommitOptions{}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	e := c.Engine()
	in := engine.Of(e)
	info, err := c.Info(ctx)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	base, err := classOf(ctx, c, info)
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	leased, release, err := in.Lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release(&err)
	if info.State == container.Running && !o.NoPause {
		if err := c.Pause(ctx); err != nil {
			return nil, err
		}
		defer func() {
			// The container must not stay frozen because ctx has ended.
			err = errors.Join(err, c.Resume(context.WithoutCancel(ctx)))
		}()
	}
	i, err := base.commit(leased, c.ID(), r, o)
	return i, engine.Cause(ctx, err)
}

// classOf finds the image that a container is an instance of.
func classOf(ctx context.Context, c *container.Container, info container.Info) (*Image, error) {
	r, err := reference.Parse(info.ImageRef)
	if err != nil {
		return nil, err
	}
	in := engine.Of(c.Engine())
	d := digest.Digest(info.Image)
	st, err := in.Client.ContentStore().Info(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("its image %s is gone: %w", info.ImageRef, err)
	}
	return load(ctx, c.Engine(), r, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: st.Size,
	}, nil)
}

func (i *Image) commit(ctx context.Context, snapshot string, r reference.Reference, o *CommitOptions) (*Image, error) {
	cs := i.e.Client.ContentStore()
	d, err := rootfs.CreateDiff(ctx, snapshot, i.e.Client.SnapshotService(i.e.Snapshotter), i.e.Client.DiffService(),
		diff.WithMediaType(ocispec.MediaTypeImageLayerGzip))
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	diffID, err := uncompressed(ctx, cs, d)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	m := maker{cs: cs, ref: r.String(), layers: append([]ocispec.Descriptor{}, i.layers...), config: i.Spec()}
	m.config.Created, m.config.Author = &now, o.Author
	if o.Edit != nil {
		o.Edit(&m.config.Config)
	}
	m.append(d, diffID, "", &now)
	last := &m.config.History[len(m.config.History)-1]
	last.Author, last.Comment = o.Author, o.Message
	return m.finish(ctx, i.ctor, r)
}

// uncompressed is what the differ noted as the digest of the layer's tar.
func uncompressed(ctx context.Context, cs content.Store, d ocispec.Descriptor) (digest.Digest, error) {
	info, err := cs.Info(ctx, d.Digest)
	if err != nil {
		return "", err
	}
	id, err := digest.Parse(info.Labels["containerd.io/uncompressed"])
	if err != nil {
		return "", fmt.Errorf("the differ did not say what %s unpacks to: %w", d.Digest, errdefs.ErrDataLoss)
	}
	return id, nil
}
