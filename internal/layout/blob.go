package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func blobName(d ocispec.Descriptor) string {
	return path.Join(ocispec.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded())
}

// Exists tells whether a blob is there and is what its digest says, which takes reading
// it: a file of the right name and size may have been cut off by a power cut, or be
// damaged.
func (l *Layout) Exists(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if err := d.Digest.Validate(); err != nil {
		return false, fmt.Errorf("digest %.80q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	i, err := l.root.Lstat(blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !i.Mode().IsRegular() || i.Size() != d.Size {
		return false, err
	}
	f, _, err := l.open(blobName(d))
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := d.Digest.Verifier()
	n, err := io.Copy(sum, untilDone{ctx, io.LimitReader(f, d.Size+1)})
	if err != nil {
		return false, ctx.Err() // what the disk can't read is to be written again
	}
	return n == d.Size && sum.Verified(), nil
}

// Size tells how long a blob is. What is not there is ErrNotFound.
func (l *Layout) Size(d digest.Digest) (int64, error) {
	if err := d.Validate(); err != nil {
		return 0, fmt.Errorf("digest %.80q: %w: %w", d, err, errdefs.ErrInvalidArgument)
	}
	i, err := l.root.Stat(blobName(ocispec.Descriptor{Digest: d}))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, l.lacks(d)
	}
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (l *Layout) lacks(d digest.Digest) error {
	return fmt.Errorf("%s is not in %s: %w", d, l.dir, errdefs.ErrNotFound)
}

// Open opens a blob that is as long as d says. The content is the caller's to check.
// What is not there is ErrNotFound.
func (l *Layout) Open(d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %.80q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	f, i, err := l.open(blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l.lacks(d.Digest)
	}
	if err != nil {
		return nil, err
	}
	if i.Size() != d.Size {
		f.Close()
		return nil, fmt.Errorf("%s has %d bytes in %s, not %d: %w", d.Digest, i.Size(), l.dir, d.Size, errdefs.ErrInvalidArgument)
	}
	return f, nil
}

// Put stores a blob, whose content is the caller's to check while it is read: an
// error of the reader, or the end of ctx, leaves nothing.
func (l *Layout) Put(ctx context.Context, d ocispec.Descriptor, body io.Reader) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %.80q: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	if err := l.root.MkdirAll(path.Dir(blobName(d)), 0o755); err != nil {
		return err
	}
	return l.write(blobName(d), untilDone{ctx, body})
}

// untilDone is a reader that ends with a context.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// partPrefix begins the names of files that are not whole yet.
const partPrefix = ".ctor-"

// write writes a file at once: it is there whole, and on the disk, or not.
func (l *Layout) write(name string, body io.Reader) (err error) {
	part := path.Join(path.Dir(name), partPrefix+rand.Text())
	f, err := l.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.root.Remove(part))
		}
	}()
	_, err = io.Copy(f, body)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return l.root.Rename(part, name)
}
