package image_test

import (
	"io"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

// text is a layer of one file.
func text(name, content string) layer.Layer {
	return layer.FromFS(fstest.MapFS{name: {Data: []byte(content), Mode: 0o644}}, &layer.Options{CreatedBy: "add " + name})
}

// read gives a layer's tar, which reading verifies.
func read(t testing.TB, l layer.Layer) []byte {
	t.Helper()
	rc, err := l.Open(t.Context())
	require.NoError(t, err)
	defer rc.Close()
	b, err := io.ReadAll(rc)
	require.NoError(t, err)
	return b
}

// discard is where archives go that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
