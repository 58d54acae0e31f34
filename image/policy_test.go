package image_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// publish makes an image of one file and pushes it.
func publish(t testing.TB, ref, content string) *image.Image {
	t.Helper()
	img, err := image.New(t.Context(), open(t), "made", ocispec.ImageConfig{}, text("content", content))
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), ref, nil))
	return img
}

func TestPullNewer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	newer := func() (*image.Image, error) {
		return image.Pull(ctx, e, ref, &image.PullOptions{Policy: image.PullNewer, Registry: &registry.Options{Retries: -1}})
	}
	_, err := newer()
	require.ErrorIs(t, err, ctor.ErrNotFound)
	first := publish(t, ref, "1")
	got, err := newer()
	require.NoError(t, err)
	require.Equal(t, first.Digest(), got.Digest())

	// Nothing is fetched of what is the same.
	srv.ResetRequests()
	_, err = newer()
	require.NoError(t, err)
	require.Len(t, srv.Requests(), 1)
	require.Equal(t, http.MethodHead, srv.Requests()[0].Method)

	second := publish(t, ref, "2")
	got, err = image.Pull(ctx, e, ref, nil)
	require.NoError(t, err)
	require.Equal(t, first.Digest(), got.Digest(), "PullMissing")
	got, err = newer()
	require.NoError(t, err)
	require.Equal(t, second.Digest(), got.Digest())

	// A registry that has nothing to say changes nothing.
	for _, status := range []int{401, 403, 404, 429, 500} {
		srv.SetMiddleware(registrytest.Fail(-1, status))
		got, err = newer()
		require.NoError(t, err, "%d", status)
		require.Equal(t, second.Digest(), got.Digest())
	}
	srv.SetMiddleware(nil)
	third := publish(t, ref, "3")
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
	_, err = newer()
	require.ErrorIs(t, err, registry.ErrDigest, "what is wrong is told")
	srv.SetMiddleware(nil)
	got, err = newer()
	require.NoError(t, err)
	require.Equal(t, third.Digest(), got.Digest())
	srv.Close()
	got, err = newer()
	require.NoError(t, err)
	require.Equal(t, third.Digest(), got.Digest())
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = image.Pull(canceled, e, ref, &image.PullOptions{Policy: image.PullNewer})
	require.ErrorIs(t, err, context.Canceled)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	srv := registrytest.NewServer(t, nil)
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	ref := srv.Host + "/team/app:v1"
	img := publish(t, ref, "1")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pull := func(policy image.Policy) error {
		_, err := image.Pull(ctx, e, ref, &image.PullOptions{Policy: policy, Verify: signedBy(&key.PublicKey)})
		return err
	}
	refused := func(why string) {
		t.Helper()
		srv.ResetRequests()
		unchanged(t, e, func() {
			err := pull(image.PullMissing)
			require.ErrorIs(t, err, errUnsigned, why)
			require.ErrorIs(t, err, ctor.ErrInvalid)
			require.ErrorContains(t, err, "verify "+img.Index().String())
		})
		layers, err := img.Layers(ctx)
		require.NoError(t, err)
		for _, r := range srv.Requests() {
			require.NotContains(t, r.Path, layers[0].Digest.String(), "a layer was fetched before the verdict")
		}
	}
	refused("no signature")
	d, err := r.Resolve(ctx, "team/app:v1")
	require.NoError(t, err)
	require.NoError(t, sign(ctx, r, "team/app", d, other))
	refused("a stranger's signature")
	// A good signature of another image, in this one's place.
	publish(t, srv.Host+"/team/app:v2", "2")
	d2, err := r.Resolve(ctx, "team/app:v2")
	require.NoError(t, err)
	require.NoError(t, sign(ctx, r, "team/app", d2, key))
	for sig, err := range r.Referrers(ctx, "team/app:v2", cosignArtifact) {
		require.NoError(t, err)
		b, err := r.Read(ctx, "team/app", sig)
		require.NoError(t, err)
		var m ocispec.Manifest
		require.NoError(t, json.Unmarshal(b, &m))
		m.Subject = &d
		moved := jsonBlob(t, m.MediaType, m)
		require.NoError(t, r.PushManifest(ctx, "team/app@"+moved.Digest.String(), moved.Descriptor, bytes.NewReader(moved.data)))
	}
	refused("another image's signature")

	// Pull gives no image that the store got without being asked about.
	_, err = image.Pull(ctx, e, ref, nil)
	require.NoError(t, err)
	for _, p := range []image.Policy{image.PullMissing, image.PullNever, image.PullNewer, image.PullAlways} {
		require.ErrorIs(t, pull(p), errUnsigned, "%d", p)
	}
	require.NoError(t, sign(ctx, r, "team/app", d, key))
	for _, p := range []image.Policy{image.PullMissing, image.PullNever, image.PullNewer, image.PullAlways} {
		require.NoError(t, pull(p), "%d", p)
	}

	// The hook's own error and panic come through, and leave nothing.
	fresh := open(t)
	mine := errors.New("mine")
	unchanged(t, fresh, func() {
		_, err := image.Pull(ctx, fresh, ref, &image.PullOptions{Verify: func(context.Context, image.Verification) error { return mine }})
		require.ErrorIs(t, err, mine)
		require.Panics(t, func() {
			_, _ = image.Pull(ctx, fresh, ref, &image.PullOptions{Verify: func(context.Context, image.Verification) error { panic("mine") }})
		})
		cctx, cancel := context.WithCancel(ctx)
		_, err = image.Pull(cctx, fresh, ref, &image.PullOptions{Verify: func(ctx context.Context, _ image.Verification) error {
			cancel()
			return ctx.Err()
		}})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Of an image of several platforms the hook sees the index and the manifest, and what
// is said about either.
func TestVerifyIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here := open(t)
	ours, err := image.New(ctx, here, "ours", ocispec.ImageConfig{}, text("x", "ours"))
	require.NoError(t, err)
	list, err := image.Import(ctx, here, stream(layoutOf(t, "theirs:v1", rawImage(t, foreign, nil, tarOf(t, file("x", "theirs"))))))
	require.NoError(t, err)
	both, err := image.Index(ctx, here, "both", ours, list[0])
	require.NoError(t, err)
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	require.NoError(t, both.Push(ctx, ref, &image.PushOptions{All: true}))
	r, err := registry.New(srv.Host, nil)
	require.NoError(t, err)
	for _, about := range []string{both.Index().String(), ours.Digest().String()} {
		_, err := r.Attach(ctx, "app@"+about, "application/x.about", map[string][]byte{"about": []byte(about)})
		require.NoError(t, err)
	}
	var seen image.Verification
	var said []string
	_, err = image.Pull(ctx, open(t), ref, &image.PullOptions{Verify: func(ctx context.Context, v image.Verification) error {
		seen = v
		for d, err := range v.Referrers(ctx, "application/x.about") {
			if err != nil {
				return err
			}
			files, err := v.Registry.Files(ctx, v.Repository, d)
			if err != nil {
				return err
			}
			said = append(said, string(files["about"]))
		}
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, ref, seen.Ref)
	require.Equal(t, both.Index(), seen.Index)
	require.Equal(t, ours.Digest(), seen.Digest)
	require.Equal(t, "app", seen.Repository)
	require.Equal(t, []string{both.Index().String(), ours.Digest().String()}, said)
}

// What a registry refuses is told by its class, and when to come back by the time.
func TestPullRefused(t *testing.T) {
	t.Parallel()
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	publish(t, ref, "1")
	e := open(t)
	answer := func(status int) registrytest.Middleware {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(status)
			})
		}
	}
	pull := func() error {
		_, err := image.Pull(t.Context(), e, ref, nil)
		return err
	}
	unchanged(t, e, func() {
		srv.SetMiddleware(answer(http.StatusUnauthorized))
		require.ErrorIs(t, pull(), registry.ErrUnauthorized)
		srv.SetMiddleware(answer(http.StatusTooManyRequests))
		err := pull()
		require.ErrorIs(t, err, registry.ErrRateLimited)
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		var refused *registry.Error
		require.ErrorAs(t, err, &refused)
		require.WithinDuration(t, time.Now().Add(time.Hour), refused.RetryAfter, 5*time.Minute)
		srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
		err = pull()
		require.ErrorIs(t, err, registry.ErrDigest)
		require.ErrorIs(t, err, ctor.ErrInvalid)
	})
}
