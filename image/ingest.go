package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ingest brings a blob from the registry into the content store, and goes on
// where an earlier pull from the same registry was cut off. arrived is told what
// comes over the network.
func (p *puller) ingest(ctx context.Context, d ocispec.Descriptor, arrived func(at int64, b []byte)) error {
	ref, end := p.ingestName(d)
	defer end()
	var came int64
	for {
		came = 0
		err := p.ingestAs(ctx, ref, d, func(at int64, b []byte) {
			came += int64(len(b))
			arrived(at, b)
		})
		if err == nil || errdefs.IsAlreadyExists(err) {
			return err
		}
		bad := errdefs.IsFailedPrecondition(err)
		if bad || errdefs.IsInvalidArgument(err) || ref != p.lasting(d) {
			abort(ctx, p.in.Client.ContentStore(), ref)
		}
		// What was there before may be what is bad.
		if !bad || came >= d.Size {
			return err
		}
	}
}

func (p *puller) ingestAs(ctx context.Context, ref string, d ocispec.Descriptor, arrived func(at int64, b []byte)) error {
	d.Annotations, d.Data = nil, nil // a stranger has written them
	return remotes.Fetch(ctx, named{p.in.Client.ContentStore(), ref}, remotes.FetcherFunc(func(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
		b := &blobReader{arrived: arrived, open: func(at int64) (io.ReadCloser, error) {
			return p.from.FetchFrom(ctx, p.ref.Repository, d, at)
		}}
		return b, nil
	}), d)
}

// blobReader reads a blob from where the content store wants it.
type blobReader struct {
	open    func(at int64) (io.ReadCloser, error)
	arrived func(at int64, b []byte)
	at      int64
	rc      io.ReadCloser // nil: not open
}

func (b *blobReader) Read(p []byte) (n int, err error) {
	if b.rc == nil {
		if b.rc, err = b.open(b.at); err != nil {
			return 0, err
		}
	}
	n, err = b.rc.Read(p)
	if n > 0 {
		b.arrived(b.at, p[:n])
		b.at += int64(n)
	}
	return n, err
}

// Seek implements io.Seeker, for places counted from the beginning.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	if offset != b.at {
		b.Close()
		b.at = offset
	}
	return offset, nil
}

func (b *blobReader) Close() error {
	if b.rc == nil {
		return nil
	}
	rc := b.rc
	b.rc = nil
	return rc.Close()
}

// ingestName names the ingest of a blob, until end. One pull at a time may go on
// with what is there; another makes one of its own, and so does a pull into a
// store that other programs have.
func (p *puller) ingestName(d ocispec.Descriptor) (ref string, end func()) {
	if p.in.Backend.Sole() {
		ref = p.lasting(d)
		if turn := p.in.Try(ref); turn != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refs = append(p.refs, ref)
			return ref, turn.End
		}
	}
	return "ctor-" + rand.Text(), func() {}
}

// abort removes what is left of the pull's ingests, unless another one goes on
// with it.
func (p *puller) abort(ctx context.Context) {
	for _, ref := range p.refs {
		if turn := p.in.Try(ref); turn != nil {
			abort(ctx, p.in.Client.ContentStore(), ref)
			turn.End()
		}
	}
}

// lasting is the name under which a blob is taken up again. It says from which
// registry, since what another one has sent may be anything.
func (p *puller) lasting(d ocispec.Descriptor) string {
	return fmt.Sprintf("ctor-pull %s/%s %s %d", p.from, p.ref.Repository, d.Digest, d.Size)
}

// named is a store whose next ingest has a name.
type named struct {
	content.Store
	ref string
}

func (n named) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	return n.Store.Writer(ctx, append(opts, content.WithRef(n.ref))...)
}
