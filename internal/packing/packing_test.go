package packing_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"testing"
	"testing/iotest"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/packing"
)

// A layer comes out as it went in, whatever it is packed in and called, and is
// described to its last byte.
func TestOpen(t *testing.T) {
	plain := bytes.Repeat([]byte("some of a layer, "), 100_000)
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	require.NoError(t, err)
	for _, w := range []io.WriteCloser{g, z} {
		_, err := w.Write(plain)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	for name, c := range map[string]struct {
		mediaType string
		blob      []byte
	}{
		"tar":             {ocispec.MediaTypeImageLayer, plain},
		"gzip":            {ocispec.MediaTypeImageLayerGzip, gz.Bytes()},
		"zstd":            {ocispec.MediaTypeImageLayerZstd, zs.Bytes()},
		"gzip called tar": {ocispec.MediaTypeImageLayer, gz.Bytes()},
		"Docker's":        {"application/vnd.docker.image.rootfs.diff.tar.gzip", gz.Bytes()},
	} {
		t.Run(name, func(t *testing.T) {
			tar, err := packing.Open(t.Context(), c.mediaType, iotest.HalfReader(bytes.NewReader(c.blob)), nil)
			require.NoError(t, err)
			got := make([]byte, 1000)
			_, err = io.ReadFull(tar, got)
			require.NoError(t, err)
			require.Equal(t, plain[:1000], got)
			d, err := tar.Rest()
			require.NoError(t, err)
			require.Equal(t, digest.FromBytes(plain), d.Digest)
			require.EqualValues(t, len(plain), d.Size)
			require.NoError(t, tar.Close())
		})
	}
}

// Bombs are refused while they are read.
func TestOpenBombs(t *testing.T) {
	defer packing.Freely(64 << 20)()
	for name, pack := range map[string]func(io.Writer) (io.WriteCloser, error){
		ocispec.MediaTypeImageLayerGzip: func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) },
		ocispec.MediaTypeImageLayerZstd: func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			defer r.Close()
			go func() {
				p, err := pack(w)
				if err == nil {
					_, err = io.Copy(p, io.LimitReader(zero{}, 128<<20))
				}
				w.CloseWithError(err)
			}()
			tar, err := packing.Open(t.Context(), name, r, nil)
			require.NoError(t, err)
			_, err = tar.Rest()
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.ErrorContains(t, err, "more than 200 times its size")
			r.Close()
			require.NoError(t, tar.Close())
		})
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Close ends the reading ahead, also of a layer that is not read to its end.
func TestClose(t *testing.T) {
	h := sha256.New()
	tar, err := packing.Open(t.Context(), ocispec.MediaTypeImageLayer, io.TeeReader(io.LimitReader(zero{}, 100<<20), h), nil)
	require.NoError(t, err)
	require.NoError(t, tar.Close())
}
