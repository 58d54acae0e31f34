package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// FromTar returns the layer whose content is a tar, plain or compressed with gzip
// or zstd, whichever its first bytes say. The layer is the uncompressed tar, byte
// for byte: its DiffID is the same for all three.
//
// FromTar calls open and reads to the end to learn the digest; each [Layer.Open]
// calls open again, from several goroutines perhaps, and fails with ErrDataLoss
// where the content has changed. What open returns is closed when it is done with,
// and also when Open's ctx ends while a Read is under way, which that Read should
// then notice, as with an os.File, a net.Conn or an http.Response's Body.
//
// The tar may come from anywhere: it is parsed from beginning to end and never held
// in memory, but its names, links and owners aren't judged; that is up to what
// unpacks it. Whiteouts (OCI image-spec, layer.md, "Whiteouts") are welcome. An
// input that is no tar, is empty or damaged gives ErrInvalidArgument, and one that
// ends too early wraps io.ErrUnexpectedEOF as well. Errors of open and of its reader
// are passed on.
func FromTar(open func() (io.ReadCloser, error)) (Layer, error) {
	l, err := fromTar(open)
	if err != nil {
		return Layer{}, fmt.Errorf("layer: from tar: %w", err)
	}
	return l, nil
}

func fromTar(open func() (io.ReadCloser, error)) (Layer, error) {
	if open == nil {
		return Layer{}, fmt.Errorf("open is nil: %w", errdefs.ErrInvalidArgument)
	}
	s, err := openStream(context.Background(), open, errdefs.ErrInvalidArgument)
	if err != nil {
		return Layer{}, err
	}
	defer s.Close()

	var size counter
	hash := sha256.New()
	if err := parse(io.TeeReader(s, io.MultiWriter(hash, &size))); err != nil {
		if s.src.err == nil && !errors.Is(err, errdefs.ErrInvalidArgument) {
			err = fmt.Errorf("neither a plain tar nor one in gzip or zstd: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		return Layer{}, err
	}
	if size == 0 {
		// Some tools take this for an empty archive. It is far more often a failed
		// download; an empty tar has two blocks of zeros (POSIX, pax).
		return Layer{}, fmt.Errorf("the input is empty: %w: %w", io.ErrUnexpectedEOF, errdefs.ErrInvalidArgument)
	}
	return made(digest.NewDigest(digest.SHA256, hash), int64(size), func(ctx context.Context) (io.ReadCloser, error) {
		return openStream(ctx, open, errdefs.ErrDataLoss)
	}), nil
}

// parse reads the tar and whatever is behind its end, which counts for the digest.
func parse(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	tr := tar.NewReader(br)
	for {
		_, err := tr.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, br)
			return err
		}
		if err != nil {
			return err
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// stream is the decompressed content of what open returned.
type stream struct {
	r     io.Reader // of src, decompressed
	src   *source
	class error // of errors that are the data's fault
	free  func()
	stop  func() bool
}

// openStream calls open and looks at the first bytes for the compression.
func openStream(ctx context.Context, open func() (io.ReadCloser, error), class error) (*stream, error) {
	rc, err := open()
	if err != nil {
		return nil, err
	}
	if rc == nil {
		return nil, fmt.Errorf("open gave neither a reader nor an error: %w", errdefs.ErrInvalidArgument)
	}
	s := &stream{
		src:   &source{r: rc, close: sync.OnceValue(rc.Close)},
		class: class,
		free:  func() {},
	}
	// open knows no ctx; closing is all that wakes up a Read that waits for it.
	s.stop = context.AfterFunc(ctx, func() { s.src.close() })
	if err := s.sniff(); err != nil {
		s.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return s, nil
}

// maxWindow is how much memory a zstd stream may ask for: as much as the zstd
// command grants without being told otherwise (RFC 8878, section 3.1.1.1.2).
const maxWindow = 128 << 20

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

func (s *stream) sniff() error {
	br := bufio.NewReaderSize(s.src, 64<<10)
	magic, err := br.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return err
	}
	s.r = br
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		gz, err := gzip.NewReader(br)
		if err != nil {
			return s.blame(err)
		}
		s.r = gz
	case bytes.HasPrefix(magic, zstdMagic):
		// One at a time: the decoder then works inside Read, without goroutines.
		zst, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return s.blame(err)
		}
		s.r, s.free = zst, zst.Close
	}
	return nil
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = s.blame(err)
	}
	return n, err
}

// blame adds the class to an error, unless it is the source's own.
func (s *stream) blame(err error) error {
	if s.src.err != nil {
		return s.src.err
	}
	return fmt.Errorf("decompress: %w: %w", err, s.class)
}

func (s *stream) Close() error {
	s.stop()
	s.free()
	return s.src.close()
}

// source remembers its error, which decompressors are free to rewrite.
type source struct {
	r     io.Reader
	err   error // the first that isn't io.EOF
	close func() error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF && s.err == nil {
		s.err = err
	}
	return n, err
}
