package registry_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestReferrers(t *testing.T) {
	for name, m := range map[string]registrytest.Middleware{"API": nil, "tag": withoutReferrers(http.StatusNotFound)} {
		t.Run(name, func(t *testing.T) {
			testReferrers(t, open(t, registrytest.NewServer(t, &registrytest.Options{Middleware: m})))
		})
	}
}

func testReferrers(t *testing.T, r *registry.Registry) {
	ctx := t.Context()
	image, layer := publish(t, r, "app:v1")
	require.Empty(t, all(t, r.Referrers(ctx, "app:v1", "")))

	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x.signature",
		Config: layer, Layers: []ocispec.Descriptor{layer}, Subject: &image}
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	require.NoError(t, err)
	signature := describe(m.MediaType, b)
	require.NoError(t, r.Push(ctx, "app", signature, bytes.NewReader(b)))

	for _, ref := range []string{"app:v1", "app@" + image.Digest.String()} {
		got := all(t, r.Referrers(ctx, ref, "application/x.signature"))
		require.Len(t, got, 1)
		require.Equal(t, signature.Digest, got[0].Digest)
		require.Equal(t, "application/x.signature", got[0].ArtifactType)
		require.Len(t, all(t, r.Referrers(ctx, ref, "")), 1)
		require.Empty(t, all(t, r.Referrers(ctx, ref, "application/x.other")))
	}
	_, err = last(r.Referrers(ctx, "app:none", ""))
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = last(r.Referrers(ctx, "App", ""))
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}

func TestDelete(t *testing.T) {
	r := open(t, registrytest.NewServer(t, nil))
	ctx := t.Context()
	image, _ := publish(t, r, "app:v1")
	require.NoError(t, r.Tag(ctx, "app:v2", image))

	// A tag takes nothing with it.
	require.NoError(t, r.Delete(ctx, "app:v2"))
	_, err := r.Resolve(ctx, "app:v2")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = r.Resolve(ctx, "app:v1")
	require.NoError(t, err)

	// A digest takes its tags with it.
	require.NoError(t, r.Delete(ctx, "app@"+image.Digest.String()))
	_, err = r.Resolve(ctx, "app:v1")
	require.ErrorIs(t, err, errdefs.ErrNotFound)

	require.ErrorIs(t, r.Delete(ctx, "app@"+digest.FromString("none").String()), errdefs.ErrNotFound)
	require.ErrorIs(t, r.Delete(ctx, "App"), errdefs.ErrInvalidArgument)
}

// TestReferrersWithoutAPI: whatever a registry says that has none, the tag that
// stands in for it is read.
func TestReferrersWithoutAPI(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, _ := publish(t, r, "app:v1")
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{image},
	})
	require.NoError(t, err)
	tag := strings.ReplaceAll(image.Digest.String(), ":", "-")
	require.NoError(t, r.PushManifest(t.Context(), "app:"+tag, describe(ocispec.MediaTypeImageIndex, index), bytes.NewReader(index)))
	for _, code := range []int{400, 401, 403, 404, 405, 406, 501} {
		srv.SetMiddleware(registrytest.On(
			func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/referrers/") }, registrytest.Fail(-1, code)))
		require.Equal(t, []ocispec.Descriptor{image}, all(t, r.Referrers(t.Context(), "app:v1", "")), code)
	}
	srv.SetMiddleware(registrytest.Fail(-1, http.StatusUnauthorized))
	_, err = last(r.Referrers(t.Context(), "app@"+image.Digest.String(), ""))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
}
