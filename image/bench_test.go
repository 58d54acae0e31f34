package image_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// sample is a layer of 200 files and 20 MiB, half of which compresses.
func sample() layer.Layer {
	root := fstest.MapFS{}
	noise := rand.NewChaCha8([32]byte{})
	for n := range 200 {
		data := make([]byte, 100<<10)
		_, _ = noise.Read(data[:50<<10])
		root[fmt.Sprintf("dir%d/file%d", n%10, n)] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	return layer.FromFS(root, nil)
}

func BenchmarkNew(b *testing.B) {
	e := open(b)
	l := sample()
	b.SetBytes(l.Size)
	for b.Loop() {
		_, err := image.New(b.Context(), e, "bench", ocispec.ImageConfig{}, l)
		require.NoError(b, err)
	}
}

// BenchmarkPull fetches and unpacks from a registry on loopback.
func BenchmarkPull(b *testing.B) {
	e := open(b)
	srv := registrytest.NewServer(b, nil)
	l := sample()
	img, err := image.New(b.Context(), open(b), srv.Host+"/bench", ocispec.ImageConfig{}, l)
	require.NoError(b, err)
	require.NoError(b, img.Push(b.Context(), "", &image.PushOptions{Registry: srv.Options()}))
	b.SetBytes(l.Size)
	for b.Loop() {
		got, err := image.Pull(b.Context(), e, img.Ref(), &image.PullOptions{Registry: srv.Options()})
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, got.Remove(b.Context()))
		b.StartTimer()
	}
}

// BenchmarkPullCached is what a program pays that pulls at each start.
func BenchmarkPullCached(b *testing.B) {
	e := open(b)
	_, err := image.New(b.Context(), e, "bench", ocispec.ImageConfig{}, sample())
	require.NoError(b, err)
	for b.Loop() {
		_, err := image.Pull(b.Context(), e, "bench", nil)
		require.NoError(b, err)
	}
}

// BenchmarkImport does not unpack.
func BenchmarkImport(b *testing.B) {
	e := open(b)
	l := sample()
	img, err := image.New(b.Context(), open(b), "bench", ocispec.ImageConfig{}, l)
	require.NoError(b, err)
	archive := export(b, img)
	b.SetBytes(l.Size)
	for b.Loop() {
		got, err := image.Import(b.Context(), e, stream(archive))
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, got[0].Remove(b.Context()))
		b.StartTimer()
	}
}
