package image_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestPush(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	img, err := image.New(t.Context(), e, srv.Host+"/app:v1", ocispec.ImageConfig{Cmd: []string{"/x"}}, text("one", "1"), text("one", "1"))
	require.NoError(t, err)
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	var phases []image.Phase
	note := func(p image.Progress) {
		require.Contains(t, []any{layers[0].Digest}, p.Layer)
		require.Equal(t, layers[0].Size, p.Total)
		if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
	}
	require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: srv.Options(), Progress: note}))
	require.Equal(t, []image.Phase{image.Waiting, image.Fetching, image.Complete}, phases)
	require.Equal(t, http.MethodPut+" /v2/app/manifests/v1", srv.Requests()[len(srv.Requests())-1].String(), "the manifest goes last")

	// What is there is not sent again.
	srv.ResetRequests()
	phases = nil
	more, err := img.Derive(t.Context(), "more", nil)
	require.NoError(t, err)
	require.NoError(t, more.Push(t.Context(), srv.Host+"/app:v2", &image.PushOptions{Registry: srv.Options(), Progress: note}))
	require.Equal(t, []image.Phase{image.Waiting, image.Exists}, phases)
	require.Zero(t, count(srv, http.MethodPost, ""))
	require.Equal(t, 1, count(srv, http.MethodPut, ""), "the manifest")

	// Another engine gets the same.
	other := open(t)
	for _, tag := range []string{"v1", "v2"} {
		got, err := image.Pull(t.Context(), other, srv.Host+"/app:"+tag, &image.PullOptions{Registry: srv.Options()})
		require.NoError(t, err)
		require.Equal(t, img.Digest(), got.Digest())
	}
	// By its digest as well.
	got, err := image.Pull(t.Context(), other, srv.Host+"/app@"+img.Digest().String(), &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	require.Equal(t, img.Digest(), got.Digest())
}

// TestPushMounts: what an image was derived from is not sent again to the registry
// that it came from.
func TestPushMounts(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	o := &image.PushOptions{Registry: srv.Options()}
	base, err := image.New(t.Context(), e, srv.Host+"/base:v1", ocispec.ImageConfig{}, text("one", "1"), text("two", "2"))
	require.NoError(t, err)
	require.NoError(t, base.Push(t.Context(), "", o))
	app, err := base.Derive(t.Context(), "app:v1", nil, text("three", "3"))
	require.NoError(t, err)
	srv.ResetRequests()
	var last image.Progress
	done := map[digest.Digest]bool{}
	o.Progress = func(p image.Progress) {
		last = p
		done[p.Layer] = p.Phase == image.Complete
	}
	require.NoError(t, app.Push(t.Context(), srv.Host+"/team/app:v1", o))
	require.Equal(t, 4, count(srv, http.MethodPost, ""), "two mounts, a layer and the configuration")
	require.Equal(t, 3, count(srv, http.MethodPut, ""), "a layer, the configuration and the manifest")
	require.Equal(t, image.Complete, last.Phase)
	require.Len(t, done, 3)
	got, err := image.Pull(t.Context(), open(t), srv.Host+"/team/app:v1", &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	require.Equal(t, app.Digest(), got.Digest())

	// A repository that hasn't got the layer after all, and a registry that mounts
	// nothing.
	other := registrytest.NewServer(t, nil)
	_, err = base.Tag(t.Context(), other.Host+"/base:v1")
	require.NoError(t, err)
	require.NoError(t, app.Push(t.Context(), other.Host+"/app:v1", nil))
	refuses := registrytest.NewServer(t, nil)
	refuses.SetMiddleware(registrytest.On(func(r *http.Request) bool { return r.URL.Query().Has("mount") }, registrytest.Fail(-1, http.StatusForbidden)))
	_, err = base.Tag(t.Context(), refuses.Host+"/base:v1")
	require.NoError(t, err)
	require.NoError(t, app.Push(t.Context(), refuses.Host+"/app:v1", nil))
}

func TestPushFails(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	img, err := image.New(t.Context(), e, srv.Host+"/app:v1", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)
	says := `push image ` + img.Ref() + ` as "` + img.Ref() + `": `
	o := srv.Options()
	o.Retries = -1
	unchanged(t, e, func() {
		anonymous := &registry.Options{Credentials: func(context.Context, string) (registry.Credential, error) { return registry.Credential{}, nil }}
		err := img.Push(t.Context(), "", &image.PushOptions{Registry: anonymous})
		require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
		require.ErrorContains(t, err, says)

		srv.SetMiddleware(registrytest.On(func(r *http.Request) bool { return r.Method == http.MethodPost }, registrytest.Fail(-1, 507)))
		err = img.Push(t.Context(), "", &image.PushOptions{Registry: o})
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		require.ErrorContains(t, err, says)
		require.Zero(t, count(srv, http.MethodPut, "/manifests/"))
		srv.SetMiddleware(nil)

		err = img.Push(t.Context(), "127.0.0.1:1/x", &image.PushOptions{Registry: o})
		require.ErrorIs(t, err, ctor.ErrUnavailable)

		ctx, cancel := context.WithCancel(t.Context())
		srv.SetMiddleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cancel(); registrytest.Hang(next).ServeHTTP(w, r) })
		})
		require.ErrorIs(t, img.Push(ctx, "", &image.PushOptions{Registry: o}), context.Canceled)
		srv.SetMiddleware(nil)
	})
	require.NoError(t, img.Remove(t.Context()))
	err = img.Push(t.Context(), "", &image.PushOptions{Registry: o})
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, "its part sha256:")
}

func TestNames(t *testing.T) {
	t.Parallel()
	e := open(t)
	ctx := t.Context()
	_, err := image.Get(ctx, e, "none")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.EqualError(t, err, `get image "none": no such image: not found`)
	list, err := image.List(ctx, e)
	require.NoError(t, err)
	require.Empty(t, list)

	b, err := image.New(ctx, e, "b", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)
	a, err := b.Tag(ctx, "example.com/a:v1")
	require.NoError(t, err)
	require.Equal(t, "example.com/a:v1", a.Ref())
	require.Equal(t, "docker.io/library/b:latest", b.Ref())
	require.Equal(t, b.Digest(), a.Digest())
	refs := func() (refs []string) {
		list, err := image.List(ctx, e)
		require.NoError(t, err)
		for _, i := range list {
			refs = append(refs, i.Ref())
		}
		return refs
	}
	require.Equal(t, []string{"docker.io/library/b:latest", "example.com/a:v1"}, refs())

	// The layers stay as long as one name does.
	before := remains(t, e)["content"]
	require.NoError(t, b.Remove(ctx))
	require.Equal(t, before, remains(t, e)["content"])
	err = b.Remove(ctx)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, `remove image "docker.io/library/b:latest": `)
	require.Equal(t, []string{"example.com/a:v1"}, refs())

	// A name that means another image now is not this one's to remove.
	newer, err := a.Derive(ctx, a.Ref(), nil, text("y", "y"))
	require.NoError(t, err)
	require.ErrorIs(t, a.Remove(ctx), ctor.ErrNotFound)
	require.Equal(t, []string{"example.com/a:v1"}, refs())

	require.NoError(t, newer.Remove(ctx))
	_, err = newer.Tag(ctx, "too-late")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = newer.Derive(ctx, "too-late", nil)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = newer.Layers(ctx)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.Empty(t, refs())
}

// Remove gives everything back, at once: content and snapshots.
func TestRemoveFrees(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, _, ref := published(t, containertest.Engine(t), nil)
	before := remains(t, e)
	img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	require.Len(t, remains(t, e)["snapshots"], 2)
	require.NoError(t, img.Remove(t.Context()))
	require.Equal(t, before, remains(t, e))

	// A container goes on, and takes what it needs with it when it ends.
	img, err = image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	c, err := img.New(t.Context(), sleeping)
	require.NoError(t, err)
	require.NoError(t, img.Remove(t.Context()))
	require.Len(t, remains(t, e)["snapshots"], 3)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Close())
	collect(t, e)
	require.Empty(t, remains(t, e)["snapshots"])
}

func TestClosedEngine(t *testing.T) {
	t.Parallel()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	img, err := image.New(t.Context(), e, "a", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Close())
	ctx := t.Context()
	fails := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"Get":    fails(image.Get(ctx, e, "a")),
		"List":   fails(image.List(ctx, e)),
		"Import": fails(image.Import(ctx, e, stream(nil))),
		"Export": image.Export(ctx, discard{}, img),
		"New":    fails(image.New(ctx, e, "b", ocispec.ImageConfig{})),
		"Derive": fails(img.Derive(ctx, "b", nil)),
		"Layers": fails(img.Layers(ctx)),
		"Open":   fails(layers[0].Open(ctx)),
		"Tag":    fails(img.Tag(ctx, "b")),
		"Push":   img.Push(ctx, "", nil),
		"Remove": img.Remove(ctx),
		"Run":    fails(img.Run(ctx, sleeping)),
	} {
		require.ErrorIs(t, err, ctor.ErrClosed, name)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	require.True(t, errors.Is(fails(image.Get(ctx, containertest.Engine(t), "a")), context.Canceled))
}
