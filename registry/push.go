package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ctorhq/ctor/internal/reference"
)

// Push uploads a blob, or a manifest by its digest, to repo; d.MediaType says
// which of the two it is. It doesn't ask first whether it is there: Exists
// does. The registry compares the content to d.Digest.
//
// A body that can be read again is sent again where [Options].Retries says so:
// a *bytes.Buffer, and what is an io.ReaderAt and an io.Seeker, such as an
// *os.File, a *bytes.Reader or an *io.SectionReader. Push does not close the
// body.
func (r *Registry) Push(ctx context.Context, repo string, d ocispec.Descriptor, body io.Reader) error {
	const op = "push"
	name, err := r.content(repo, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	if open, ok := repeatable(body, d.Size); ok {
		return r.push(ctx, name.Repository, d, open)
	}
	err = r.origin.repository(ctx, name.Repository).Push(ctx, d, keepOpen(body))
	return r.failed(ctx, op, name.Name(), err)
}

// push uploads a blob or a manifest that can be opened more than once. What a
// broken request left of an upload may make the registry refuse the next one to
// the same place: then another is begun.
func (r *Registry) push(ctx context.Context, repo string, d ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	c := r.origin.repository(ctx, repo)
	for attempt := 0; ; attempt++ {
		body := repeat{open: open, sent: new(atomic.Int32)}
		err := c.Push(ctx, d, body.again())
		if err == nil || attempt >= r.retries || body.sent.Load() < 2 || !isStale(err) {
			return r.failed(ctx, "push", repo+"@"+d.Digest.String(), err)
		}
	}
}

// isStale reports whether an upload is refused in a way that the leavings of an
// earlier request explain.
func isStale(err error) bool {
	var resp *errcode.ErrorResponse
	return errors.As(err, &resp) && slices.Contains([]int{
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict,
		http.StatusRequestedRangeNotSatisfiable,
	}, resp.StatusCode)
}

// repeatable returns what opens a body that can be read again, from where it is.
// Readers share no position: an answer may come while one is still being sent.
func repeatable(body io.Reader, size int64) (open func() (io.ReadCloser, error), ok bool) {
	from, ok := body.(io.ReaderAt)
	s, seeks := body.(io.Seeker)
	if !ok || !seeks {
		return nil, false
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, false
	}
	return func() (io.ReadCloser, error) {
		// One byte more than there should be, so that too much is noticed.
		return io.NopCloser(io.NewSectionReader(from, at, size+1)), nil
	}, true
}

// repeat is a body that can be sent again.
type repeat struct {
	open func() (io.ReadCloser, error)
	sent *atomic.Int32 // how many times, by all that are this body

	mu     sync.Mutex    // net/http may close what it is reading
	rc     io.ReadCloser // nil before the first Read
	closed bool
}

func (r *repeat) again() *repeat { return &repeat{open: r.open, sent: r.sent} }

func (r *repeat) Read(p []byte) (int, error) {
	rc, err := r.opened()
	if err != nil {
		return 0, err
	}
	return rc.Read(p)
}

func (r *repeat) opened() (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.rc == nil {
		r.sent.Add(1)
		rc, err := r.open()
		if err != nil {
			return nil, err
		}
		r.rc = rc
	}
	return r.rc, nil
}

func (r *repeat) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.rc == nil {
		return nil
	}
	return r.rc.Close()
}

// rewindable lets a request be sent again whose body is a repeat.
func rewindable(req *http.Request) {
	if body, ok := req.Body.(*repeat); ok && req.GetBody == nil {
		req.GetBody = func() (io.ReadCloser, error) { return body.again(), nil }
	}
}

// PushManifest uploads a manifest under the tag of ref, in one request. If
// ref has a digest instead, it must be d's.
func (r *Registry) PushManifest(ctx context.Context, ref string, d ocispec.Descriptor, body io.Reader) error {
	const op = "push"
	name, err := r.manifest(ref, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	under := name.Tag
	if under == "" {
		under = name.Digest.String()
	}
	err = r.origin.repository(ctx, name.Repository).PushReference(ctx, d, keepOpen(body), under)
	return r.failed(ctx, op, name.Name(), err)
}

// Tag gives the manifest that d describes, and that the repository has, the
// tag of ref. A tag that exists moves.
func (r *Registry) Tag(ctx context.Context, ref string, d ocispec.Descriptor) error {
	const op = "tag"
	name, err := r.manifest(ref, d)
	if err == nil && name.Tag == "" {
		err = fmt.Errorf("reference %q has no tag: %w", ref, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	err = r.origin.repository(ctx, name.Repository).Tag(ctx, d, name.Tag)
	return r.failed(ctx, op, name.Name(), err)
}

// Mount makes the blob that d describes in the repository from available in
// repo, without a transfer where the registry can do that. Where it can't,
// the blob is uploaded from what open returns, or, if open is nil, by way of
// this program from the repository from.
//
// Some registries refuse a mount with ErrPermissionDenied or
// ErrUnauthenticated when the user may not read from; Push is then the way.
func (r *Registry) Mount(ctx context.Context, repo, from string, d ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	const op = "mount"
	name, err := r.content(repo, d)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	source, err := r.repository(from)
	if err != nil {
		return r.failed(ctx, op, "", err)
	}
	err = r.origin.repository(ctx, name.Repository).Mount(ctx, d, source.Repository, open)
	return r.failed(ctx, op, name.Name(), err)
}

// manifest checks a reference and the descriptor of a manifest.
func (r *Registry) manifest(ref string, d ocispec.Descriptor) (reference.Reference, error) {
	name, err := reference.ParseOn(r.host, ref)
	if err != nil {
		return name, err
	}
	if _, err := r.content(name.Repository, d); err != nil {
		return name, err
	}
	if err := checkManifest(d); err != nil {
		return name, err
	}
	if name.Digest != "" && name.Digest != d.Digest {
		return name, fmt.Errorf("reference %q has another digest than the manifest, %s: %w", ref, d.Digest, errdefs.ErrInvalidArgument)
	}
	return name, nil
}

// keepOpen hides a Close method, which net/http would call, from a request.
// A body without one is left as it is, since net/http knows some by type.
func keepOpen(body io.Reader) io.Reader {
	if c, ok := body.(io.Closer); ok {
		return struct{ io.Reader }{c.(io.Reader)}
	}
	return body
}
