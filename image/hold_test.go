package image_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// An image that is removed while a call is about to hand it on, or to make
// another of it, is there to the call's end.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(t *testing.T, i *image.Image, remove func()){
		"Export": func(t *testing.T, i *image.Image, remove func()) {
			require.NoError(t, image.Export(t.Context(), writer(remove), i))
		},
		"Push": func(t *testing.T, i *image.Image, remove func()) {
			srv := registrytest.NewServer(t, &registrytest.Options{Middleware: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					remove()
					next.ServeHTTP(w, r)
				})
			}})
			require.NoError(t, i.Push(t.Context(), srv.Host+"/app:1", nil))
		},
		"Derive": func(t *testing.T, i *image.Image, remove func()) {
			more := text("b", "more")
			d := ocispec.Descriptor{MediaType: more.MediaType, Digest: more.Digest, Size: more.Size}
			i, err := i.Derive(t.Context(), "ctor.test/derived:1", nil, layer.New(d, more.DiffID, func(ctx context.Context) (io.ReadCloser, error) {
				remove()
				return more.Open(ctx)
			}))
			require.NoError(t, err)
			b, err := files(t, i).ReadFile("a")
			require.NoError(t, err)
			require.Equal(t, "whole", string(b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			i, err := image.New(t.Context(), e, "ctor.test/removed:1", ocispec.ImageConfig{}, text("a", "whole"))
			require.NoError(t, err)
			var removed error
			remove := sync.OnceFunc(func() { removed = i.Remove(t.Context()) })
			call(t, i, remove)
			require.NoError(t, removed)
		})
	}
}

// writer calls a function at each Write.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
