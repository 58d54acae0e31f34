package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
)

// Fetch opens the manifest or blob that d describes in repo; d.MediaType says
// which of the two it is.
//
// The body is not verified: compare its digest and its length to d's. It is
// at most one byte longer than d.Size, which is how a registry that sends
// more is noticed. The caller must close it, and ctx governs it until then.
//
// The body is also an io.Seeker. A connection that breaks is taken up where it
// broke, by a range where the registry can do that, else from the start; any
// number of times as long as something arrives, and a read fails only after
// [Options].Retries attempts that brought nothing.
//
// A blob that the registry doesn't have is asked for at d.URLs, if there are
// any, without credentials: layers that may not be distributed are elsewhere.
func (r *Registry) Fetch(ctx context.Context, repo string, d ocispec.Descriptor) (io.ReadCloser, error) {
	return r.FetchFrom(ctx, repo, d, 0)
}

// FetchFrom is [Registry.Fetch] from a byte on, from 0 to d.Size, of content whose
// beginning is there.
func (r *Registry) FetchFrom(ctx context.Context, repo string, d ocispec.Descriptor, at int64) (io.ReadCloser, error) {
	const op = "fetch"
	name, err := r.content(repo, d)
	if err == nil && (at < 0 || at > d.Size) {
		err = fmt.Errorf("byte %d of %d: %w", at, d.Size, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return nil, r.failed(ctx, op, "", err)
	}
	b := &body{
		ctx: ctx, size: d.Size, retries: r.retries, at: at, resumed: at,
		class: func(err error) error {
			if e := (*Error)(nil); errors.As(err, &e) {
				return err
			}
			return r.failed(ctx, op, name.Name(), err)
		},
		open: func(at int64) (io.ReadCloser, error) {
			rc, err := read(ctx, r, op, name, func(e *endpoint) (io.ReadCloser, error) {
				return e.open(ctx, name.Repository, d, at)
			})
			if errors.Is(err, errdefs.ErrNotFound) && len(d.URLs) > 0 {
				return r.foreign(ctx, d, at, err)
			}
			return rc, err
		},
	}
	if b.rc, err = b.open(at); err != nil {
		return nil, err
	}
	return b, nil
}

// open asks for content from a byte on.
func (e *endpoint) open(ctx context.Context, repo string, d ocispec.Descriptor, at int64) (io.ReadCloser, error) {
	what := "blobs/"
	if isManifest(d.MediaType) {
		what = "manifests/"
	}
	req, err := e.request(ctx, http.MethodGet, repo, what+d.Digest.String())
	if err != nil {
		return nil, err
	}
	if isManifest(d.MediaType) {
		req.Header.Set("Accept", d.MediaType)
	}
	return openAt(e.client.Do, req, d, at)
}

// openAt sends a request for content from a byte on.
func openAt(do func(*http.Request) (*http.Response, error), req *http.Request, d ocispec.Descriptor, at int64) (io.ReadCloser, error) {
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := do(req)
	if err != nil {
		return nil, err
	}
	if at > 0 && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		resp.Body.Close()
		req.Header.Del("Range")
		if resp, err = do(req); err != nil {
			return nil, err
		}
	}
	if err := from(resp, d, at); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// from brings an answer's body to a byte. A registry that knows no ranges
// sends all of it, and what is there already is passed over.
func from(resp *http.Response, d ocispec.Descriptor, at int64) error {
	switch resp.StatusCode {
	case http.StatusOK:
		if n := resp.ContentLength; n != -1 && n != d.Size {
			return fmt.Errorf("the answer's Content-Length is %d, not %d", n, d.Size)
		}
		_, err := io.CopyN(io.Discard, resp.Body, at)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	case http.StatusPartialContent:
		var begin int64
		if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &begin); n != 1 || begin != at {
			return fmt.Errorf("the answer's Content-Range is %.80q, but byte %d was asked for", resp.Header.Get("Content-Range"), at)
		}
		return nil
	case http.StatusNotFound:
		return errdef.ErrNotFound
	}
	return failure(resp)
}

// getsOn is how many bytes must have arrived for a connection to have been of
// use. It keeps a registry that sends a byte at a time from being asked once
// for every byte.
const getsOn = 16 << 10

var errClosed = errors.New("read after Close")

// body is content that arrives over as many connections as it takes.
type body struct {
	ctx     context.Context // of the caller, which every range repeats
	open    func(at int64) (io.ReadCloser, error)
	class   func(error) error
	size    int64
	retries int

	rc      io.ReadCloser // nil: to be opened
	at      int64
	resumed int64 // where the last connection began, or was to
	tried   int   // connections since the last that was of use
	err     error // sticky
}

func (b *body) Read(p []byte) (int, error) {
	for {
		if b.err != nil {
			return 0, b.err
		}
		if b.at > b.size || b.rc == nil && b.at == b.size {
			return 0, io.EOF
		}
		n, err := b.read(p)
		if err == nil || err == io.EOF && b.at >= b.size {
			return n, err
		}
		if err == io.EOF { // of an answer without a length
			err = io.ErrUnexpectedEOF
		}
		if err = b.broke(err); err != nil {
			b.err = b.class(err)
			return n, b.err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (b *body) read(p []byte) (int, error) {
	if b.rc == nil {
		rc, err := b.open(b.at)
		if err != nil {
			return 0, err
		}
		b.rc = rc
	}
	if left := b.size + 1 - b.at; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.rc.Read(p)
	b.at += int64(n)
	return n, err
}

// broke makes ready for the next connection after one that failed with cause,
// or returns why there is none.
func (b *body) broke(cause error) error {
	b.hangUp()
	if b.at-b.resumed >= getsOn {
		b.tried = 0
	}
	b.resumed = b.at
	if b.tried >= b.retries || b.at >= b.size || b.ctx.Err() != nil || !isNetwork(cause) {
		return cause
	}
	wait := time.Duration(0)
	if b.tried++; b.tried > 1 {
		wait = backoff(b.tried - 2)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

func (b *body) hangUp() {
	if b.rc != nil {
		b.rc.Close()
		b.rc = nil
	}
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	if b.err != nil {
		return 0, b.err
	}
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, fmt.Errorf("seek to %d of %d bytes", offset, b.size)
	}
	if offset != b.at {
		b.hangUp()
		b.at, b.resumed = offset, offset
	}
	return offset, nil
}

func (b *body) Close() error {
	b.hangUp()
	if b.err == nil {
		b.err = errClosed
	}
	return nil
}
