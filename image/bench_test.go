package image_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
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

// BenchmarkFork has a database that was stopped become an image, and a container of that
// answer a query: by Fork and by Commit, by turns. The metrics are medians in ms.
func BenchmarkFork(b *testing.B) {
	e := open(b)
	base := fixture.Postgres(b, e)
	query := func(c *container.Container, sql string) {
		require.NoError(b, c.WaitReady(b.Context(), container.Exec("psql", "-c", "select 1")))
		out, err := c.Command(b.Context(), "psql", "-tAc", sql).CombinedOutput()
		require.NoError(b, err, "%s", out)
	}
	took := map[string][]float64{}
	measure := func(name string, made func(c *container.Container) (*image.Image, error)) {
		c, err := base.Run(b.Context(), container.Config{})
		require.NoError(b, err)
		query(c, "create table t as select generate_series(1, 100000) as n")
		require.NoError(b, c.Stop(b.Context()))
		start := time.Now()
		img, err := made(c)
		require.NoError(b, err)
		took[name] = append(took[name], float64(time.Since(start).Microseconds())/1000)
		child, err := img.Run(b.Context(), container.Config{})
		require.NoError(b, err)
		query(child, "select count(*) from t")
		took[name+"+query"] = append(took[name+"+query"], float64(time.Since(start).Microseconds())/1000)
		require.NoError(b, child.Close())
		require.NoError(b, c.Close())
		require.NoError(b, img.Remove(b.Context()))
	}
	for b.Loop() {
		measure("fork", func(c *container.Container) (*image.Image, error) { return image.Fork(b.Context(), c, "forked") })
		measure("commit", func(c *container.Container) (*image.Image, error) {
			return image.Commit(b.Context(), c, "committed", nil)
		})
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], name+"-ms")
	}
}
