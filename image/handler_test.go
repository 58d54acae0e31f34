package image_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
)

// publishes serves e's images, and gives the host to reach them at.
func publishes(t testing.TB, e *ctor.Engine) string {
	t.Helper()
	srv := httptest.NewServer(image.Handler(e))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestHandler(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here, there := open(t), open(t)
	host := publishes(t, here)
	app, err := image.New(ctx, here, "app:v1", ocispec.ImageConfig{Cmd: []string{"/x"}}, text("one", "1"), text("two", "2"))
	require.NoError(t, err)
	_, err = image.New(ctx, here, host+"/mine:v1", ocispec.ImageConfig{}, text("mine", "m"))
	require.NoError(t, err)
	_, err = app.Tag(ctx, "ghcr.io/acme/app:v2")
	require.NoError(t, err)

	// Whatever this engine has, another can pull.
	for _, name := range []string{"app:v1", "library/app:v1", "app@" + app.Digest().String(), "mine:v1", "ghcr.io/acme/app:v2"} {
		got, err := image.Pull(ctx, there, host+"/"+name, nil)
		require.NoError(t, err, name)
		if name != "mine:v1" {
			require.Equal(t, app.Digest(), got.Digest(), name)
		}
	}
	_, err = image.Pull(ctx, there, host+"/none:v1", nil)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	r, err := registry.New(host, nil)
	require.NoError(t, err)
	var repos []string
	for repo, err := range r.Repositories(ctx) {
		require.NoError(t, err)
		repos = append(repos, repo)
	}
	require.Equal(t, []string{"app", "ghcr.io/acme/app", "mine"}, repos)

	// What is pushed is an image.
	more, err := image.New(ctx, there, "more:v1", ocispec.ImageConfig{}, text("one", "1"), text("three", "3"))
	require.NoError(t, err)
	require.NoError(t, more.Push(ctx, host+"/acme/more:v1", nil))
	got, err := image.Get(ctx, here, "acme/more:v1")
	require.NoError(t, err)
	require.Equal(t, more.Digest(), got.Digest())
	var archive bytes.Buffer
	require.NoError(t, image.Export(ctx, &archive, got))

	// A tag that moves leaves what it meant; nothing is left of what is removed.
	require.NoError(t, app.Push(ctx, host+"/acme/more:v1", nil))
	got, err = image.Get(ctx, here, "acme/more:v1")
	require.NoError(t, err)
	require.Equal(t, app.Digest(), got.Digest())
	old, err := image.Pull(ctx, there, host+"/acme/more@"+more.Digest().String(), nil)
	require.NoError(t, err)
	require.Equal(t, more.Digest(), old.Digest())
	require.NoError(t, r.Delete(ctx, "acme/more@"+more.Digest().String()))
	_, err = image.Get(ctx, here, "acme/more@"+more.Digest().String())
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// TestHandlerLeavesNothing: what was pushed and deleted again.
func TestHandlerLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here, there := open(t), open(t)
	host := publishes(t, here)
	app, err := image.New(ctx, there, "app:v1", ocispec.ImageConfig{}, text("one", "1"))
	require.NoError(t, err)
	r, err := registry.New(host, nil)
	require.NoError(t, err)
	unchanged(t, here, func() {
		require.NoError(t, app.Push(ctx, host+"/app:v1", nil))
		_, err := r.Attach(ctx, "app:v1", "application/spdx+json", map[string][]byte{"sbom.json": []byte("{}")})
		require.NoError(t, err)
		n := 0
		for _, err := range r.Referrers(ctx, "app:v1", "") {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 1, n)
		list, err := image.List(ctx, here)
		require.NoError(t, err)
		require.Len(t, list, 1, "what is about an image is none")
		// Uploads that come to nothing.
		resp, err := http.Post("http://"+host+"/v2/app/blobs/uploads/", "", nil)
		require.NoError(t, err)
		resp.Body.Close()
		resp, err = http.Post("http://"+host+"/v2/app/blobs/uploads/?digest="+app.Digest().String(), "", strings.NewReader("something else"))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.NoError(t, r.Delete(ctx, "app@"+app.Digest().String()))
	})
}
