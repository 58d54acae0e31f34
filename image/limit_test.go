package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

// go test ./image -run TestPullManyFiles -files 10000000
var manyFiles = flag.Int("files", 20_000, "empty files of a layer; with more than 2,000,000 the default limit refuses it")

// packers are what layers are packed in, and the media types of that.
var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	ocispec.MediaTypeImageLayerGzip: func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) },
	ocispec.MediaTypeImageLayerZstd: func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

// packed is an image of one layer, whose tar is too long to be in memory.
func packed(t testing.TB, mediaType string, write func(*tar.Writer) error) raw {
	t.Helper()
	var blob bytes.Buffer
	p, err := packers[mediaType](&blob)
	require.NoError(t, err)
	plain := digest.Canonical.Digester()
	w := tar.NewWriter(io.MultiWriter(p, plain.Hash()))
	require.NoError(t, write(w))
	require.NoError(t, w.Close())
	require.NoError(t, p.Close())
	return rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{plain.Digest()}}}, nil,
		newBlob(mediaType, blob.Bytes()))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// refuses pulls an image, which is to be refused and to leave nothing.
func refuses(t *testing.T, e *ctor.Engine, r raw, l layer.Limits, says string) {
	t.Helper()
	_, ref := serve(t, r)
	unchanged(t, e, func() {
		_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Limit: l})
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, fmt.Sprintf("pull image %q: unpack layer %s: ", ref, r.blobs[1].Digest))
		require.ErrorContains(t, err, says)
	})
}

// A layer that unpacks to more than it may is refused as soon as it does, and one
// that does not is not, with either snapshotter.
func TestPullLimits(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	for _, snapshotter := range []string{"overlayfs", "native"} {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir(), Snapshotter: snapshotter})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		for mediaType := range packers {
			t.Run(snapshotter+" "+mediaType, func(t *testing.T) {
				one := func(size int64) raw {
					return packed(t, mediaType, func(w *tar.Writer) error {
						if err := w.WriteHeader(&tar.Header{Name: "f", Size: size, Mode: 0o644}); err != nil {
							return err
						}
						_, err := io.CopyN(w, zeros{}, size)
						return err
					})
				}
				many := packed(t, mediaType, func(w *tar.Writer) (err error) {
					for n := 0; n < 100 && err == nil; n++ {
						err = w.WriteHeader(&tar.Header{Name: fmt.Sprint("f", n), Mode: 0o644})
					}
					return err
				})
				refuses(t, e, one(64<<20), layer.Limits{Bytes: most}, "the layer has more than 4194304 bytes in its files")
				refuses(t, e, one(most), layer.Limits{Bytes: most}, "it unpacks to more than 4194304 bytes")
				refuses(t, e, many, layer.Limits{Entries: 99}, "the layer has more than 99 entries")
				refuses(t, e, many, layer.Limits{Bytes: 99 * 512}, "it unpacks to more than 50688 bytes")
				for _, r := range []raw{one(most - 4096), many} {
					_, ref := serve(t, r)
					img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Limit: layer.Limits{Bytes: most, Entries: 100}})
					require.NoError(t, err)
					require.NoError(t, img.Remove(t.Context()))
				}
			})
		}
		_, err = image.Pull(t.Context(), e, "127.0.0.1:1/x", &image.PullOptions{Limit: layer.Limits{Ratio: -1}})
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "none can be negative")
	}
}

// Limits hold also for a layer that has to wait for those below it, and for what
// follows the end of a tar.
func TestPullLimitsInOrder(t *testing.T) {
	t.Parallel()
	e := open(t)
	hard := tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "below"}
	late := append(tarOf(t, hard, file("x", "x")), make([]byte, 1<<20)...)
	r := rawImage(t, native, nil, tarOf(t, file("below", "x")), late)
	_, ref := serve(t, r)
	for says, l := range map[string]layer.Limits{
		"the layer has more than 1 entries":    {Entries: 1},
		"it unpacks to more than 524288 bytes": {Bytes: 1 << 19},
	} {
		unchanged(t, e, func() {
			_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Limit: l})
			require.ErrorIs(t, err, ctor.ErrInvalid)
			require.ErrorContains(t, err, says)
		})
	}
	img, err := image.Pull(t.Context(), e, ref, nil)
	require.NoError(t, err)
	require.NoError(t, img.Remove(t.Context()))
}

// Millions of names, each of which costs the store a file and the program memory.
func TestPullManyFiles(t *testing.T) {
	t.Parallel()
	e := open(t)
	r := packed(t, ocispec.MediaTypeImageLayerGzip, func(w *tar.Writer) (err error) {
		for n := 0; n < *manyFiles && err == nil; n++ {
			err = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/f%d", n/1000, n), Mode: 0o644})
		}
		return err
	})
	l := layer.Limits{Entries: int64(*manyFiles) / 2}
	if *manyFiles > 2_000_000 {
		l = layer.Limits{}
	}
	refuses(t, e, r, l, "the layer has more than")
}

// A frame of zstd says how far back it refers, which is memory that it asks for.
func TestPullWindow(t *testing.T) {
	t.Parallel()
	e := open(t)
	blob := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x03, 0x00, 0x01, 'x'} // RFC 8878, 3.1.1: a window of 2 GiB
	r := rawOf(t, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString("x")}}}, nil,
		newBlob(ocispec.MediaTypeImageLayerZstd, blob))
	refuses(t, e, r, layer.Limits{}, "window size exceeded")
}
