package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
)

// Import reads the images of an archive into the store: a tar of an OCI image
// layout, or what `docker save` writes, plain or compressed with gzip or zstd.
// Each gets the name that the archive gives it, completed as Docker does it;
// one without a name goes by its digest, as "docker.io/library/import@sha256:…".
// An archive that holds no image, or is damaged or cut off, is ctor.ErrInvalid,
// and leaves nothing.
func Import(ctx context.Context, e *ctor.Engine, r io.Reader) (_ []*Image, err error) {
	defer wrap(&err, "import images", "")
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
	list, err := importAll(leased, e, r)
	if err != nil {
		return nil, engine.Cause(ctx, damaged(err))
	}
	return list, nil
}

func importAll(ctx context.Context, e *ctor.Engine, r io.Reader) ([]*Image, error) {
	// Read to its end as well, or the tail of a cut-off stream goes unnoticed.
	plain, err := compression.DecompressStream(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	in := engine.Of(e)
	records, err := in.Client.Import(ctx, plain,
		containerd.WithImageRefTranslator(archiveName),
		containerd.WithDigestRef(func(d digest.Digest) string { return "docker.io/library/import@" + d.String() }),
		containerd.WithSkipDigestRef(func(name string) bool { return name != "" }),
		containerd.WithAllPlatforms(true),
		containerd.WithSkipMissing())
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("the archive holds no image: %w", errdefs.ErrInvalidArgument)
	}
	var list []*Image
	for _, record := range records {
		ref, err := reference.Parse(record.Name)
		if err != nil {
			return nil, err
		}
		i, err := load(ctx, e, ref, record.Target, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", record.Name, err)
		}
		list = append(list, i)
	}
	return list, nil
}

// archiveName completes a name found in an archive; "" is none that can be.
func archiveName(name string) string {
	r, err := reference.Parse(strings.TrimSpace(name))
	if err != nil {
		return ""
	}
	return r.String()
}

// damaged gives what an archive can be refused for its class.
func damaged(err error) error {
	var known bool
	for _, class := range []error{context.Canceled, context.DeadlineExceeded, engine.ErrClosed, errdefs.ErrInvalidArgument, errdefs.ErrUnavailable} {
		known = known || errors.Is(err, class)
	}
	if known {
		return err
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
}

// Export writes images as one archive, a tar of an OCI image layout that
// `docker load` reads as well, each for its platform and under its name.
func Export(ctx context.Context, w io.Writer, imgs ...*Image) (err error) {
	defer wrap(&err, "export images", "")
	if len(imgs) == 0 {
		return fmt.Errorf("no images: %w", errdefs.ErrInvalidArgument)
	}
	opts := []archive.ExportOpt{archive.WithPlatform(platforms.All)}
	for _, i := range imgs {
		if i.e != imgs[0].e {
			return fmt.Errorf("the images are of different engines: %w", errdefs.ErrInvalidArgument)
		}
		opts = append(opts, archive.WithManifest(i.manifest, i.Ref()))
	}
	ctx, leave, err := imgs[0].e.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return engine.Cause(ctx, imgs[0].e.Client.Export(ctx, w, opts...))
}
