package whole

import (
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// What is done with images over services of our own is done over a containerd that
// runs as well.
func TestDialImages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	socket := daemon(t)
	e := dial(t, socket, t.TempDir())
	srv := registrytest.NewServer(t, nil)
	own, err := ctor.Open(ctx, ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer own.Close()
	made, err := fixture.Busybox(t, own).Derive(ctx, "made", nil, fixture.Files(map[string]string{"hello": "hello"}), fixture.Files(map[string]string{"hello": "again"}))
	require.NoError(t, err)
	ref := srv.Host + "/app:v1"
	require.NoError(t, made.Push(ctx, ref, nil))

	img, err := image.Pull(ctx, e, ref, &image.PullOptions{Policy: image.PullNewer})
	require.NoError(t, err)
	flat, err := img.Squash(ctx, "flat")
	require.NoError(t, err)
	for c, err := range image.Diff(ctx, img, flat) {
		require.NoError(t, err)
		t.Errorf("%v", c)
	}
	u, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	require.Len(t, u.Images, 2)
	require.Zero(t, u.Other)
	for _, i := range u.Images {
		require.Greater(t, i.Size, int64(1_000_000))
	}

	layers, err := img.Layers(ctx)
	require.NoError(t, err)
	blob := filepath.Join(filepath.Dir(socket), "root/io.containerd.content.v1.content/blobs/sha256", layers[1].Digest.Encoded())
	require.NoError(t, os.Truncate(blob, 3))
	damage, err := image.Check(ctx, e, nil)
	require.NoError(t, err)
	require.Len(t, damage, 1)
	require.Equal(t, layers[1].Digest, damage[0].Digest)
	require.NoError(t, image.Repair(ctx, e, nil, damage...))
	damage, err = image.Check(ctx, e, nil)
	require.NoError(t, err)
	require.Empty(t, damage)

	more, err := img.Derive(ctx, "more", func(c *ocispec.ImageConfig) { c.Labels = map[string]string{"keep": ""} })
	require.NoError(t, err)
	report, err := image.Prune(ctx, e, &image.PruneOptions{Keep: func(i *image.Image) bool { return i.Digest() == more.Digest() }})
	require.NoError(t, err)
	require.Equal(t, []string{img.Ref(), flat.Ref()}, report.Removed)
	after, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	require.Len(t, after.Images, 1)
	require.Greater(t, report.Bytes, int64(1_000_000))
	_, err = image.Prune(ctx, e, nil)
	require.NoError(t, err)
	after, err = image.DiskUsage(ctx, e)
	require.NoError(t, err)
	require.Zero(t, after)
}
