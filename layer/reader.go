package layer

import (
	"context"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// reader is what Open returns: it heeds ctx and checks the digest. It keeps ctx,
// since io.Reader has no other place for it.
type reader struct {
	ctx    context.Context
	rc     io.ReadCloser
	want   digest.Digest
	hash   hash.Hash
	err    error // of every further Read
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if err := r.ctx.Err(); err != nil {
		r.err = r.wrap(err)
		return 0, r.err
	}
	n, err := r.rc.Read(p)
	r.hash.Write(p[:n])
	switch {
	case err == nil:
	case err == io.EOF:
		r.err = r.verdict()
	case r.ctx.Err() != nil:
		// However the source put it, it stopped because it was told to.
		r.err = r.wrap(r.ctx.Err())
	default:
		r.err = r.wrap(err)
	}
	return n, r.err
}

// verdict is io.EOF if all bytes were the right ones.
func (r *reader) verdict() error {
	if got := digest.NewDigest(r.want.Algorithm(), r.hash); got != r.want {
		return r.wrap(fmt.Errorf("the content has digest %s: %w", got, errdefs.ErrDataLoss))
	}
	return io.EOF
}

func (r *reader) wrap(err error) error {
	return fmt.Errorf("layer: read %s: %w", r.want, err)
}

// Close may be called twice.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.err = r.wrap(fs.ErrClosed)
	return r.rc.Close()
}
