package registry_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestMirror(t *testing.T) {
	origin, mirror := registrytest.NewServer(t, nil), registrytest.NewServer(t, nil)
	image, layer := publish(t, open(t, origin), "app:v1")
	publish(t, open(t, mirror), "app:v1")
	other, _ := publish(t, open(t, origin), "other:v1")
	origin.ResetRequests()

	r, err := registry.New(origin.Host, &registry.Options{Mirrors: []string{mirror.Host}})
	require.NoError(t, err)
	got, err := r.Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)
	require.Equal(t, "the layer of app", string(fetch(t, r, "app", layer)))
	require.Empty(t, origin.Requests())

	// What the mirror lacks, and all that is not reading, is the origin's.
	got, err = r.Resolve(t.Context(), "other:v1")
	require.NoError(t, err)
	require.Equal(t, other, got)
	mirror.ResetRequests()
	require.NoError(t, r.Tag(t.Context(), "app:v2", image))
	require.Equal(t, []string{"v1", "v2"}, all(t, r.Tags(t.Context(), "app")))
	_, err = r.Exists(t.Context(), "app", layer)
	require.NoError(t, err)
	require.NoError(t, r.Ping(t.Context()))
	require.Empty(t, mirror.Requests())
}

// TestMirrorsFail: whatever a mirror does, the next is asked, and then the
// registry. Nobody waits for a mirror, nor asks it twice.
func TestMirrorsFail(t *testing.T) {
	origin := registrytest.NewServer(t, nil)
	image, layer := publish(t, open(t, origin), "app:v1")

	gone := registrytest.NewServer(t, nil)
	gone.Close()
	hangs := registrytest.NewServer(t, &registrytest.Options{Middleware: registrytest.Hang})
	fails := registrytest.NewServer(t, &registrytest.Options{Middleware: registrytest.Fail(-1, http.StatusBadGateway)})
	locked := registrytest.NewServer(t, &registrytest.Options{Username: "x", Password: "y"})
	empty := registrytest.NewServer(t, nil)
	o := &registry.Options{
		Mirrors:       []string{gone.Host, hangs.Host, fails.Host, locked.Host, empty.Host},
		MirrorTimeout: 250 * time.Millisecond,
		Retries:       never,
		Credentials:   as(registry.Credential{}),
	}
	r, err := registry.New(origin.Host, o)
	require.NoError(t, err)
	got, err := r.Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)
	require.Equal(t, "the layer of app", string(fetch(t, r, "app", layer)))
	require.Len(t, fails.Requests(), 2)
	require.Len(t, hangs.Requests(), 2)

	// If the registry fails too, it is the one that counts.
	origin.SetMiddleware(registrytest.Fail(-1, http.StatusForbidden))
	o.Mirrors, o.MirrorTimeout = []string{fails.Host, empty.Host}, 0
	r, err = registry.New(origin.Host, o)
	require.NoError(t, err)
	_, err = r.Resolve(t.Context(), "app:v1")
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)
	require.NotErrorIs(t, err, errdefs.ErrNotFound)
	require.EqualError(t, err, "registry "+origin.Host+": resolve app:v1: 403 forbidden; mirror "+
		fails.Host+": 502 bad gateway; mirror "+empty.Host+": not found")
}

// TestMirrorTimeoutSparesBodies: the limit is on the beginning of an answer.
func TestMirrorTimeoutSparesBodies(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a second")
	}
	release := make(chan struct{})
	mirror := registrytest.NewServer(t, nil)
	_, layer := publish(t, open(t, mirror), "app:v1")
	mirror.SetMiddleware(registrytest.On(registrytest.Blobs, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("the layer "))
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = w.Write([]byte("of app"))
		})
	}))
	origin := registrytest.NewServer(t, nil)
	const limit = time.Second
	r, err := registry.New(origin.Host, &registry.Options{Mirrors: []string{mirror.Host}, MirrorTimeout: limit})
	require.NoError(t, err)
	time.AfterFunc(2*limit, func() { close(release) })
	require.Equal(t, "the layer of app", string(fetch(t, r, "app", layer)))
	require.Empty(t, origin.Requests())
}

// TestMirrorCredentials: each host is shown its own credentials, and where it
// has none, none.
func TestMirrorCredentials(t *testing.T) {
	var seen headers
	origin := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	image, _ := publish(t, open(t, origin), "app:v1")
	mirror := registrytest.NewServer(t, &registrytest.Options{Username: "bob", Password: "other", Middleware: seen.wrap})

	var asked []string
	o := &registry.Options{
		Mirrors: []string{mirror.Host},
		Credentials: func(ctx context.Context, host string) (registry.Credential, error) {
			asked = append(asked, host)
			return origin.Options().Credentials(ctx, host)
		},
	}
	r, err := registry.New(origin.Host, o)
	require.NoError(t, err)
	got, err := r.Resolve(t.Context(), "app:v1")
	require.NoError(t, err)
	require.Equal(t, image, got)
	require.Equal(t, []string{mirror.Host, origin.Host}, asked)
	require.Empty(t, seen.all())

	o.Credentials = mirror.Options().Credentials
	r, err = registry.New(origin.Host, o)
	require.NoError(t, err)
	_, err = r.Resolve(t.Context(), "app:v1")
	require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
	require.Len(t, seen.all(), 1)
}
