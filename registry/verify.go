package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxRead bounds what Read and Files read into memory.
const maxRead = 64 << 20

// Read returns the whole of the manifest or blob that d describes in repo, compared to
// its digest and size: ErrDigest where they differ. Content of more than 64 MiB is
// ErrOutOfRange; [Registry.Fetch] is for that.
func (r *Registry) Read(ctx context.Context, repo string, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxRead {
		return nil, r.failed(ctx, "read", repo+"@"+d.Digest.String(), fmt.Errorf("%d bytes, more than %d: %w", d.Size, maxRead, errdefs.ErrOutOfRange))
	}
	return r.read(ctx, repo, d)
}

// read returns content whose size the caller has found bearable.
func (r *Registry) read(ctx context.Context, repo string, d ocispec.Descriptor) ([]byte, error) {
	rc, err := r.Fetch(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(verified(rc, d))
	if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
		err = r.failed(ctx, "fetch", repo+"@"+d.Digest.String(), err)
	}
	return b, err
}

// verified is a reader of content that fails where it isn't what d says.
func verified(r io.Reader, d ocispec.Descriptor) io.Reader {
	return &verifier{r: r, d: d, sum: d.Digest.Verifier()}
}

type verifier struct {
	r   io.Reader
	d   ocispec.Descriptor
	sum digest.Verifier
	n   int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	if err != nil && err != io.EOF {
		return n, err
	}
	_, _ = v.sum.Write(p[:n])
	v.n += int64(n)
	if (err == io.EOF || v.n >= v.d.Size) && (v.n != v.d.Size || !v.sum.Verified()) {
		return n, fmt.Errorf("%s: the registry sent something else: %w", v.d.Digest, ErrDigest)
	}
	return n, err
}
