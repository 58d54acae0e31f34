package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	return r.failed(ctx, op, name.Name(), r.upload(ctx, name, d, body))
}

// upload sends content. What a broken request left of an upload may make the
// registry refuse the next one to the same place: then another is begun.
func (r *Registry) upload(ctx context.Context, name reference.Reference, d ocispec.Descriptor, body io.Reader) error {
	repo := r.origin.repository(ctx, name.Repository)
	content, ok := repeatable(body, d.Size)
	if !ok {
		return repo.Push(ctx, d, keepOpen(body))
	}
	for attempt := 0; ; attempt++ {
		content.sent.Store(0)
		err := repo.Push(ctx, d, content.again())
		if err == nil || attempt >= r.retries || content.sent.Load() < 2 || !isStale(err) {
			return err
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

// repeat is a body that can be sent again. Requests share nothing of it but the
// source: an answer may come while one is still being sent.
type repeat struct {
	from     io.ReaderAt
	at, size int64
	sent     *atomic.Int32 // how many times, by all copies
	reader   io.Reader     // nil before the first Read
}

// repeatable makes such a body of one that is suited, from where it is.
func repeatable(body io.Reader, size int64) (*repeat, bool) {
	from, ok := body.(io.ReaderAt)
	s, seeks := body.(io.Seeker)
	if !ok || !seeks {
		return nil, false
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, false
	}
	return &repeat{from: from, at: at, size: size, sent: new(atomic.Int32)}, true
}

func (r *repeat) again() *repeat { return &repeat{from: r.from, at: r.at, size: r.size, sent: r.sent} }

func (r *repeat) Read(p []byte) (int, error) {
	if r.reader == nil {
		r.sent.Add(1)
		// One byte more than there should be, so that too much is noticed.
		r.reader = io.NewSectionReader(r.from, r.at, r.size+1)
	}
	return r.reader.Read(p)
}

// Close is for net/http, and closes nothing.
func (r *repeat) Close() error { return nil }

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
