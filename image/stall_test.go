package image_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// stalls makes a registry send the beginning of a blob, the first times it is
// asked for it, and then nothing.
func stalls(d digest.Digest, times int32) (registrytest.Middleware, <-chan struct{}) {
	stalled := make(chan struct{}, 100)
	var asked atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, d.String()) || asked.Add(1) > times {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = w.Write([]byte{0x1f})
			w.(http.Flusher).Flush()
			stalled <- struct{}{}
			<-r.Context().Done()
		})
	}, stalled
}

// A registry that stands still in the middle of a layer holds up no pull of that
// layer from another registry, nor, for long, another one from itself; nor does
// one whose layer only passes for another, once that is unpacked.
func TestPullStalled(t *testing.T) {
	t.Parallel()
	tar := tarOf(t, file("x", strings.Repeat("honest", 10_000)))
	honest := rawImage(t, native, nil, tar)
	evil := of(t, tar, newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, tarOf(t, file("x", "evil")))))
	for name, test := range map[string]struct {
		stalling raw
		same     bool // registry
	}{
		"another registry": {stalling: honest},
		"same registry":    {stalling: honest, same: true},
		"another layer":    {stalling: evil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			times := int32(100)
			if test.same {
				times = 1
			}
			mw, stalled := stalls(test.stalling.blobs[1].Digest, times)
			_, ref := serve(t, test.stalling, mw)
			good := ref
			if !test.same {
				_, good = serve(t, honest)
			}
			unchanged(t, e, func() {
				ctx, cancel := context.WithCancel(t.Context())
				first := make(chan error, 1)
				go func() {
					_, err := image.Pull(ctx, e, ref, nil)
					first <- err
				}()
				<-stalled
				pulled(t, e, good)
				cancel()
				require.ErrorIs(t, <-first, context.Canceled)
				dayLater(t, e)
			})
		})
	}
}

// pulled pulls an image, in the time that is allowed for that, and removes it.
func pulled(t *testing.T, e *ctor.Engine, ref string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fixture.Patience)
	defer cancel()
	i, err := image.Pull(ctx, e, ref, nil)
	require.NoError(t, err)
	require.NoError(t, i.Remove(ctx))
}
