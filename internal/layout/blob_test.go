package layout

import (
	"context"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// A blob is compared, and a call that has ended tells nothing.
func TestExists(t *testing.T) {
	ctx := t.Context()
	l, err := Create(ctx, t.TempDir())
	require.NoError(t, err)
	defer l.Close()
	d := ocispec.Descriptor{Digest: digest.FromString("right"), Size: 5}
	for content, want := range map[string]bool{"right": true, "wrong": false, "long it is": false} {
		require.NoError(t, l.Put(ctx, d, strings.NewReader(content)))
		there, err := l.Exists(ctx, d)
		require.NoError(t, err)
		require.Equal(t, want, there, content)
	}
	require.NoError(t, l.Put(ctx, d, strings.NewReader("right")))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = l.Exists(canceled, d)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, l.Put(canceled, d, strings.NewReader("wrong")), context.Canceled)
	there, err := l.Exists(ctx, d)
	require.NoError(t, err)
	require.True(t, there)
}
