package registry

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Fetch opens the manifest or blob that d describes in repo; d.MediaType says
// which of the two it is.
//
// The body is not verified: compare its digest and its length to d's. It is
// at most one byte longer than d.Size, which is how a registry that sends
// more is noticed. The caller must close it, and ctx governs it until then.
//
// The body is also an io.Seeker if the registry offers ranges. Then Fetch
// itself takes up a connection that breaks, so that a read fails only after
// [Options].Retries attempts to go on.
func (r *Registry) Fetch(ctx context.Context, repo string, d ocispec.Descriptor) (io.ReadCloser, error) {
	const op = "fetch"
	name, err := r.content(repo, d)
	if err != nil {
		return nil, r.failed(ctx, op, "", err)
	}
	rc, err := read(ctx, r, op, name, func(repo *remote.Repository) (io.ReadCloser, error) {
		return repo.Fetch(ctx, d)
	})
	if err != nil {
		return nil, err
	}
	b := &body{
		rc:    rc,
		left:  d.Size + 1,
		class: func(err error) error { return r.failed(ctx, op, name.Name(), err) },
	}
	if s, ok := rc.(io.Seeker); ok {
		return &seekBody{body: b, s: s, size: d.Size, ctx: ctx, retries: r.retries}, nil
	}
	return b, nil
}

// body bounds an answer and classes its errors.
type body struct {
	rc    io.ReadCloser
	left  int64
	class func(error) error
	err   error // sticky
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.read(p)
	if err != nil && err != io.EOF && b.err == nil {
		b.err = b.class(err)
		err = b.err
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.rc.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *body) Close() error { return b.rc.Close() }

// resumeAfter is how many bytes must have arrived for a broken connection to
// count as a new one. It keeps a registry that sends a byte at a time from
// being asked once for every byte.
const resumeAfter = 1 << 20

// seekBody is a body of a registry that offers ranges.
type seekBody struct {
	*body
	s       io.Seeker
	size    int64
	ctx     context.Context // of the request, which every range repeats
	retries int
	tried   int   // resumptions since the last that was worth it
	resumed int64 // where that began
}

func (b *seekBody) Read(p []byte) (int, error) {
	n, err := b.read(p)
	if err == nil || err == io.EOF || b.err != nil {
		return n, err
	}
	if err = b.resume(err); err != nil {
		b.err = b.class(err)
		return n, b.err
	}
	return n, nil
}

// resume asks for the rest of a body that broke off with cause.
func (b *seekBody) resume(cause error) error {
	at := b.size + 1 - b.left
	if at-b.resumed >= resumeAfter {
		b.tried = 0
	}
	if b.tried >= b.retries || at >= b.size || b.ctx.Err() != nil {
		return cause
	}
	b.tried++
	b.resumed = at
	// oras skips a seek to where it is: go by way of the end.
	if _, err := b.s.Seek(0, io.SeekEnd); err != nil {
		return cause
	}
	if _, err := b.s.Seek(at, io.SeekStart); err != nil {
		return err
	}
	return nil
}

func (b *seekBody) Seek(offset int64, whence int) (int64, error) {
	if b.err != nil {
		return 0, b.err
	}
	at, err := b.s.Seek(offset, whence)
	if err != nil {
		return 0, b.class(err)
	}
	b.left = max(b.size+1-at, 0)
	b.resumed = at
	return at, nil
}
