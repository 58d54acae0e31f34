package image_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// noise is a file that does not pack.
func noise(name string, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(len(name)), name[0]})
	_, _ = r.Read(b)
	return string(b)
}

// A pull goes on where the last one was cut off: what is complete is not asked for
// again, of a layer that is not only the rest is, and if that was not the
// registry's layer, all of it.
func TestPullGoesOn(t *testing.T) {
	t.Parallel()
	const cutAt = 300_000
	have := rawImage(t, native, nil, tarOf(t, file("a", noise("a", 1000))), tarOf(t, file("b", noise("b", 500_000))))
	large := have.blobs[2].Digest
	for name, spoil := range map[string]bool{"honest": false, "not what it was": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			var mu sync.Mutex
			failing, asked := true, []string{}
			srv, ref := serve(t, have, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					asked = append(asked, strings.TrimSpace(r.URL.Path[len("/v2/app/"):]+" "+r.Header.Get("Range")))
					failing := failing
					mu.Unlock()
					of, ranged := strings.HasSuffix(r.URL.Path, large.String()), r.Header.Get("Range") != ""
					switch {
					case of && failing && spoil:
						registrytest.Corrupt(registrytest.Cut(-1, cutAt)(next)).ServeHTTP(w, r)
					case of && failing:
						registrytest.Cut(-1, cutAt)(next).ServeHTTP(w, r)
					case of && ranged:
						rest := have.blobs[2].data[cutAt:]
						w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", cutAt, cutAt+len(rest)-1, cutAt+len(rest)))
						w.WriteHeader(http.StatusPartialContent)
						_, _ = w.Write(rest)
					default:
						next.ServeHTTP(w, r)
					}
				})
			})
			o := srv.Options()
			o.Retries = -1
			_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: o})
			require.ErrorIs(t, err, ctor.ErrUnavailable)
			left := remains(t, e)
			require.Len(t, left["leases"], 1)
			require.NotContains(t, left["content"], large.String())
			require.Contains(t, left["content"], have.blobs[0].Digest.String(), "the configuration comes before the layers")

			mu.Lock()
			failing, asked = false, nil
			mu.Unlock()
			img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: o})
			require.NoError(t, err)
			f, err := img.FS(t.Context())
			require.NoError(t, err)
			b, err := f.ReadFile("b")
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.Equal(t, noise("b", 500_000), string(b))
			for _, complete := range left["content"] {
				require.NotContains(t, asked, "blobs/"+complete)
			}
			rest := fmt.Sprintf("blobs/%s bytes=%d-", large, cutAt)
			want := []string{rest}
			if spoil {
				want = []string{rest, "blobs/" + large.String()}
			}
			require.Equal(t, want, slices.DeleteFunc(asked, func(r string) bool { return !strings.Contains(r, large.String()) }))
			require.Empty(t, remains(t, e)["leases"])
			require.NoError(t, img.Remove(t.Context()))
			fixture.Remains{"content": nil, "ingest files": nil}.Same(t, func() fixture.Remains { return remains(t, e) })
		})
	}
}

// What a registry has sent of a blob is of no use for another one.
func TestPullGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	e := open(t)
	have := rawImage(t, native, nil, tarOf(t, file("b", noise("b", 500_000))))
	_, bad := serve(t, have, registrytest.On(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, have.blobs[1].Digest.String()) }, func(next http.Handler) http.Handler {
		return registrytest.Corrupt(registrytest.Cut(-1, 100_000)(next))
	}))
	_, err := image.Pull(t.Context(), e, bad, &image.PullOptions{Registry: &registry.Options{Retries: -1}})
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	srv, good := serve(t, have)
	_, err = image.Pull(t.Context(), e, good, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	require.Equal(t, 1, count(srv, http.MethodGet, have.blobs[1].Digest.String()))
}
