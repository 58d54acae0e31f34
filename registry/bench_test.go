package registry_test

import (
	"bytes"
	"io"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry/registrytest"
)

func BenchmarkResolve(b *testing.B) {
	r := open(b, registrytest.NewServer(b, nil))
	publish(b, r, "app:v1")
	for b.Loop() {
		_, err := r.Resolve(b.Context(), "app:v1")
		require.NoError(b, err)
	}
}

func BenchmarkFetch(b *testing.B) {
	r := open(b, registrytest.NewServer(b, nil))
	content := noise(8 << 20)
	d := describe(ocispec.MediaTypeImageLayer, content)
	require.NoError(b, r.Push(b.Context(), "app", d, bytes.NewReader(content)))
	b.SetBytes(d.Size)
	for b.Loop() {
		rc, err := r.Fetch(b.Context(), "app", d)
		require.NoError(b, err)
		n, err := io.Copy(io.Discard, rc)
		require.NoError(b, err)
		require.Equal(b, d.Size, n)
		require.NoError(b, rc.Close())
	}
}
