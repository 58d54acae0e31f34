package registry_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry/registrytest"
)

// An artifact is what a stranger says: it is refused by its manifest alone.
func TestFilesBounds(t *testing.T) {
	part := func(name, content string) ocispec.Descriptor {
		d := describe("a/b", []byte(content))
		d.Annotations = map[string]string{ocispec.AnnotationTitle: name}
		return d
	}
	sized := func(sizes ...int64) (list []ocispec.Descriptor) {
		for n, size := range sizes {
			list = append(list, ocispec.Descriptor{MediaType: "a/b", Digest: digest.FromString(fmt.Sprint(n)), Size: size})
		}
		return list
	}
	for name, tt := range map[string]struct {
		parts []ocispec.Descriptor
		class error
		says  string
	}{
		"a large part":        {sized(65 << 20), errdefs.ErrOutOfRange, "an artifact of more than 67108864 bytes"},
		"large together":      {sized(40<<20, 40<<20), errdefs.ErrOutOfRange, "an artifact of more than 67108864 bytes"},
		"sizes that overflow": {sized(1, math.MaxInt64, math.MaxInt64), errdefs.ErrOutOfRange, "an artifact of more than 67108864 bytes"},
		"a negative size":     {sized(-1), errdefs.ErrInvalidArgument, "negative size -1"},
		"many parts":          {sized(make([]int64, 1001)...), errdefs.ErrOutOfRange, "an artifact of 1001 parts, more than 1000"},
		"two of one name":     {[]ocispec.Descriptor{part("x", "1"), part("x", "2")}, errdefs.ErrInvalidArgument, `two files "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, b := manifest(t, describe("", nil), tt.parts...)
			srv := registrytest.NewServer(t, &registrytest.Options{Middleware: answer(http.StatusOK, d.MediaType, string(b))})
			_, err := open(t, srv).Files(t.Context(), "app", d)
			require.ErrorIs(t, err, tt.class)
			require.ErrorContains(t, err, tt.says)
			require.Len(t, srv.Requests(), 1, "no part is asked for")
		})
	}
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	d, _ := publish(t, r, "app:v1")
	for mediaType, class := range map[string]error{d.MediaType: errdefs.ErrOutOfRange, "a/b": errdefs.ErrNotImplemented} {
		srv.ResetRequests()
		_, err := r.Files(t.Context(), "app", ocispec.Descriptor{MediaType: mediaType, Digest: d.Digest, Size: 1 << 40})
		require.ErrorIs(t, err, class)
		require.Empty(t, srv.Requests())
	}
}
