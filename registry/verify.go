package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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
