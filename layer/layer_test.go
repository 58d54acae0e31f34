package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

// of makes a layer whose bytes are content, whatever that is.
func of(content string) layer.Layer {
	return claiming(content, content)
}

// claiming makes a layer that has the digest of one content and opens another.
func claiming(claimed, content string) layer.Layer {
	id := digest.FromString(claimed)
	desc := ocispec.Descriptor{Digest: id, Size: int64(len(claimed)), MediaType: ocispec.MediaTypeImageLayer}
	return layer.New(desc, id, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	})
}

func open(t *testing.T, l layer.Layer) io.ReadCloser {
	t.Helper()
	r, err := l.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t *testing.T, l layer.Layer) []byte {
	t.Helper()
	b, err := io.ReadAll(open(t, l))
	require.NoError(t, err)
	return b
}

func TestZeroLayer(t *testing.T) {
	var l layer.Layer
	require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
	require.ErrorContains(t, l.Err(), "layer: the zero Layer")
	_, err := l.Open(t.Context())
	require.Equal(t, l.Err(), err)
	_, err = l.FS(t.Context())
	require.Equal(t, l.Err(), err)
}

func TestNew(t *testing.T) {
	diffID := digest.FromString("tar")
	desc := ocispec.Descriptor{
		Digest:    digest.FromString("gzip"),
		Size:      4,
		MediaType: ocispec.MediaTypeImageLayerGzip,
	}
	type key struct{}
	l := layer.New(desc, diffID, func(ctx context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(ctx.Value(key{}).(string))), nil
	})
	require.NoError(t, l.Err())
	require.Equal(t, desc.Digest, l.Digest)
	require.Equal(t, diffID, l.DiffID)
	require.Equal(t, desc.Size, l.Size)
	require.Equal(t, desc.MediaType, l.MediaType)

	r, err := l.Open(context.WithValue(t.Context(), key{}, "tar"))
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(r, []byte("tar")))
	require.NoError(t, r.Close())
}

func TestNewInvalid(t *testing.T) {
	good := digest.FromString("x")
	opens := func(context.Context) (io.ReadCloser, error) { return nil, nil }
	for name, l := range map[string]layer.Layer{
		"no digest":     layer.New(ocispec.Descriptor{}, good, opens),
		"odd digest":    layer.New(ocispec.Descriptor{Digest: "sha256:../../etc"}, good, opens),
		"no diff id":    layer.New(ocispec.Descriptor{Digest: good}, "", opens),
		"unknown hash":  layer.New(ocispec.Descriptor{Digest: good}, "md5:d41d8cd98f00b204e9800998ecf8427e", opens),
		"negative size": layer.New(ocispec.Descriptor{Digest: good, Size: -1}, good, opens),
		"nil open":      layer.New(ocispec.Descriptor{Digest: good}, good, nil),
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
			require.ErrorContains(t, l.Err(), "layer: new: ")
			require.Empty(t, l.Digest)
			_, err := l.Open(t.Context())
			require.Equal(t, l.Err(), err)
		})
	}
}

func TestOpenFails(t *testing.T) {
	id := digest.FromString("x")
	desc := ocispec.Descriptor{Digest: id}
	gone := layer.New(desc, id, func(context.Context) (io.ReadCloser, error) { return nil, fs.ErrNotExist })
	_, err := gone.Open(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "layer: open "+id.String())

	neither := layer.New(desc, id, func(context.Context) (io.ReadCloser, error) { return nil, nil })
	_, err = neither.Open(t.Context())
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)

	// A field set in a copy must not make Open panic.
	edited := of("x")
	edited.DiffID = "md5:no"
	_, err = edited.Open(t.Context())
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = of("x").Open(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenVerifies(t *testing.T) {
	for name, content := range map[string]string{"changed": "b", "shorter": "", "longer": "aa"} {
		t.Run(name, func(t *testing.T) {
			r := open(t, claiming("a", content))
			got, err := io.ReadAll(r)
			require.ErrorIs(t, err, errdefs.ErrDataLoss)
			require.ErrorContains(t, err, digest.FromString(content).String())
			require.Equal(t, content, string(got))

			_, again := r.Read(make([]byte, 1))
			require.Equal(t, err, again, "the error stays")
		})
	}
	sha512 := of("a")
	sha512.DiffID = digest.SHA512.FromString("a")
	require.Equal(t, "a", string(read(t, sha512)))
}

func TestReadError(t *testing.T) {
	id := digest.FromString("abc")
	broken := errors.New("broken disk")
	l := layer.New(ocispec.Descriptor{Digest: id}, id, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))), nil
	})
	_, err := io.ReadAll(open(t, l))
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, errdefs.ErrDataLoss)
}

func TestReadAfterClose(t *testing.T) {
	r := open(t, of("abc"))
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err := r.Read(make([]byte, 1))
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestReadCancelled(t *testing.T) {
	for name, l := range sources(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := l.Open(ctx)
			require.NoError(t, err)
			_, err = r.Read(make([]byte, 10))
			require.NoError(t, err)
			cancel()
			_, err = r.Read(make([]byte, 10))
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, r.Close())
		})
	}
}

// sources has a layer of each kind, all larger than any buffer.
func sources(t *testing.T) map[string]layer.Layer {
	t.Helper()
	plain := layer.FromFS(fstest.MapFS{"big": {Data: noise(1 << 20)}}, nil)
	content := read(t, plain)
	layers := map[string]layer.Layer{"fs": plain, "new": of(string(content))}
	for name, b := range map[string][]byte{"tar": content, "gzip": gzipped(t, content), "zstd": zstded(t, content)} {
		l, err := layer.FromTar(opener(b))
		require.NoError(t, err)
		layers[name] = l
	}
	return layers
}

// However a reader is abandoned, no goroutine may stay. The bubble fails a test whose
// goroutines don't end; the count tells which reader's it was.
func TestNoGoroutineStays(t *testing.T) {
	layers := sources(t)
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		for name, l := range layers {
			for _, amount := range []int64{0, 1, 100 << 10, 1 << 30} {
				ctx, cancel := context.WithCancel(t.Context())
				closed, err := l.Open(ctx)
				require.NoError(t, err)
				cancelled, err := l.Open(ctx)
				require.NoError(t, err)

				_, err = io.CopyN(io.Discard, closed, amount)
				require.True(t, err == nil || err == io.EOF, name)
				_, err = io.CopyN(io.Discard, cancelled, amount)
				require.True(t, err == nil || err == io.EOF, name)

				require.NoError(t, closed.Close())
				cancel()
				synctest.Wait() // for what cancel started
				requireGoroutines(t, before, fmt.Sprintf("%s after %d bytes", name, amount))
			}
		}
	})
}

// requireGoroutines yields until those that have ended are off the books as well.
func requireGoroutines(t *testing.T, most int, what string) {
	t.Helper()
	for i := 0; runtime.NumGoroutine() > most && i < 1e6; i++ {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), most, what)
}

func TestChangeString(t *testing.T) {
	require.Equal(t, "A /a", layer.Change{Path: "/a", Kind: layer.Added}.String())
	require.Equal(t, "C /a", layer.Change{Path: "/a", Kind: layer.Modified}.String())
	require.Equal(t, "D /a", layer.Change{Path: "/a", Kind: layer.Deleted}.String())
	require.Equal(t, "? /a", layer.Change{Path: "/a"}.String())
	require.Equal(t, "ChangeKind(0)", layer.ChangeKind(0).String())
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}
