package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
)

// begin starts a call that makes things. They are kept until end, which is for
// defer; then only what has a name stays, and of a call that failed nothing.
func begin(ctx context.Context, in *engine.Engine) (_ context.Context, end func(*error), err error) {
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, release, err := in.Lease(ctx)
	if err != nil {
		leave()
		return nil, nil, err
	}
	return ctx, func(err *error) {
		*err = engine.Cause(ctx, *err)
		release(err)
		leave()
	}, nil
}

// apart is a content store whose ingests are one call's own. Without it a call
// would take up, under the same name, what another was cut off in: the first
// half of a different layer.
type apart struct {
	content.Store
	prefix string

	mu   sync.Mutex
	refs []string
	kept bool // the call has come to its end
}

func newApart(cs content.Store) *apart { return &apart{Store: cs, prefix: "ctor-" + rand.Text() + "-"} }

func (a *apart) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	ref := a.prefix + o.Ref
	a.mu.Lock()
	a.refs = append(a.refs, ref)
	a.mu.Unlock()
	return a.Store.Writer(ctx, append(opts, content.WithRef(ref))...)
}

// blobsByName is a store for the files of an OCI layout, whose names say by which
// algorithm each is to be known. The store makes sure that it is so.
type blobsByName struct{ *apart }

func (b blobsByName) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	parts := strings.Split(o.Ref, "/") // containerd's "tar-" and the file's name
	if len(parts) == 3 && parts[0] == "tar-blobs" {
		d := digest.Digest(parts[1] + ":" + parts[2])
		if d.Validate() == nil && d.Algorithm() != digest.Canonical {
			w, err := b.apart.Writer(ctx, opts...)
			return known{w, d}, err
		}
	}
	return b.apart.Writer(ctx, opts...)
}

// known is content whose digest is said beforehand.
type known struct {
	content.Writer
	digest digest.Digest
}

func (k known) Commit(ctx context.Context, size int64, _ digest.Digest, opts ...content.Opt) error {
	return k.Writer.Commit(ctx, size, k.digest, opts...)
}

// keep makes abort do nothing.
func (a *apart) keep() { a.kept = true }

// abort ends the ingests of a call that failed, or in which something of the
// caller's panicked: it did not come to keep. It is for defer.
func (a *apart) abort(ctx context.Context) {
	if !a.kept {
		abort(ctx, a.Store, a.refs...)
	}
}

// abort removes ingests, if they are there, also when ctx has ended. The end of
// the lease would as well, but its collection does not reach the files of a
// content store that never had a blob (containerd 2.4.2).
func abort(ctx context.Context, cs content.Store, refs ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, ref := range refs {
		_ = cs.Abort(ctx, ref)
	}
}

// ReaderAt refuses what would be read into memory whole and is too large.
func (a *apart) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	if images.IsConfigType(d.MediaType) && d.Size > maxDocument {
		return nil, fmt.Errorf("configuration of %d bytes, more than %d: %w", d.Size, maxDocument, errdefs.ErrInvalidArgument)
	}
	return a.Store.ReaderAt(ctx, d)
}
