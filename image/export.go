package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
)

// Export writes images as one archive, a tar of an OCI image layout (OCI
// image-spec, image-layout.md) that `docker load`, podman, skopeo and ctr read
// as well, each for its platform and under its name. To compress it, make w a
// compressor's.
//
// No images at all, or images of different engines, are ctor.ErrInvalid; one
// that is not whole in the store any more is ctor.ErrNotFound, before anything
// is written. When ctx ends, Export returns after the Write that is under way.
func Export(ctx context.Context, w io.Writer, imgs ...*Image) (err error) {
	defer wrap(&err, "export images", "")
	if len(imgs) == 0 {
		return fmt.Errorf("no images: %w", errdefs.ErrInvalidArgument)
	}
	for _, i := range imgs {
		if i.e != imgs[0].e {
			return fmt.Errorf("the images are of different engines: %w", errdefs.ErrInvalidArgument)
		}
	}
	e := imgs[0].e
	ctx, end, err := begin(ctx, e)
	if err != nil {
		return err
	}
	defer end(&err)
	opts := []archive.ExportOpt{archive.WithPlatform(platforms.All)}
	for _, i := range imgs {
		if err := i.hold(ctx); err != nil {
			return fmt.Errorf("%s: %w", i.Ref(), err)
		}
		if i, err = i.packed(ctx); err != nil {
			return err
		}
		opts = append(opts, archive.WithManifest(i.manifest, i.Ref()))
	}
	return e.Client.Export(ctx, &sink{ctx, w}, opts...)
}

// sink is a writer that heeds ctx.
type sink struct {
	ctx context.Context
	w   io.Writer
}

func (s *sink) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
