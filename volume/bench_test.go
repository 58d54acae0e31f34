package volume_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/volume"
)

// What it takes to list a thousand volumes.
func BenchmarkList(b *testing.B) {
	const volumes = 1000
	e := fixture.Open(b)
	for i := range volumes {
		_, err := volume.New(b.Context(), e, fmt.Sprint("v", i), &volume.Options{Labels: map[string]string{"number": fmt.Sprint(i)}})
		require.NoError(b, err)
	}
	for b.Loop() {
		all, err := volume.List(b.Context(), e)
		require.NoError(b, err)
		require.Len(b, all, volumes)
	}
}
