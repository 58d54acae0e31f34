package image_test

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	ours, err := image.New(ctx, e, "app:ours", ocispec.ImageConfig{}, text("x", "ours"))
	require.NoError(t, err)
	list, err := image.Import(ctx, e, stream(layoutOf(t, "app:theirs", rawImage(t, foreign, nil, tarOf(t, file("x", "theirs"))))))
	require.NoError(t, err)
	theirs := list[0]

	both, err := image.Index(ctx, e, "app:both", theirs, ours)
	require.NoError(t, err)
	require.Equal(t, ours.Digest(), both.Digest())
	require.NotEqual(t, ours.Digest(), both.Index())
	again, err := image.Index(ctx, e, "app:again", theirs, ours)
	require.NoError(t, err)
	require.Equal(t, both.Index(), again.Index())
	require.NoError(t, again.Remove(ctx))

	// The index keeps what it lists.
	require.NoError(t, ours.Remove(ctx))
	require.NoError(t, theirs.Remove(ctx))
	both, err = image.Get(ctx, e, "app:both")
	require.NoError(t, err)

	// All of it goes to a registry, and each platform is there.
	srv := registrytest.NewServer(t, nil)
	require.NoError(t, both.Push(ctx, srv.Host+"/app:v1", &image.PushOptions{All: true}))
	for platform, want := range map[string]*image.Image{native.OS + "/" + native.Architecture: ours, foreign.OS + "/" + foreign.Architecture: theirs} {
		other := open(t)
		got, err := image.Pull(ctx, other, srv.Host+"/app:v1", &image.PullOptions{Platform: platform})
		require.NoError(t, err)
		require.Equal(t, want.Digest(), got.Digest())
		require.Equal(t, both.Index(), got.Index())
		err = got.Push(ctx, srv.Host+"/part:v1", &image.PushOptions{All: true})
		require.ErrorIs(t, err, ctor.ErrNotFound, "only one platform was pulled")
	}
	require.NoError(t, both.Push(ctx, srv.Host+"/one:v1", nil))
	one, err := image.Pull(ctx, open(t), srv.Host+"/one:v1", nil)
	require.NoError(t, err)
	require.Equal(t, ours.Digest(), one.Index())
}

func TestIndexRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	a, err := image.New(ctx, e, "a", ocispec.ImageConfig{}, text("x", "a"))
	require.NoError(t, err)
	b, err := image.New(ctx, e, "b", ocispec.ImageConfig{}, text("x", "b"))
	require.NoError(t, err)
	elsewhere, err := image.New(ctx, open(t), "c", ocispec.ImageConfig{}, text("x", "c"))
	require.NoError(t, err)
	unchanged(t, e, func() {
		for _, imgs := range [][]*image.Image{nil, {a, b}, {a, a}, {a, elsewhere}} {
			_, err := image.Index(ctx, e, "index", imgs...)
			require.ErrorIs(t, err, ctor.ErrInvalid)
		}
		_, err = image.Index(ctx, e, "In dex", a)
		require.ErrorIs(t, err, ctor.ErrInvalid)
	})
	require.NoError(t, a.Remove(ctx))
	_, err = image.Index(ctx, e, "index", a)
	require.ErrorIs(t, err, ctor.ErrNotFound)
}
