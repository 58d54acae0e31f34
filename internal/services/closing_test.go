package services

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A client closes what it was given as if a daemon were behind it. The engine's
// own stays open.
func TestClientsClose(t *testing.T) {
	s, image, _ := classed(t)
	for _, name := range []string{overlayfs, "native"} {
		sn := s.Client().SnapshotService(name)
		require.NoError(t, sn.Close())
		require.NoError(t, sn.Close())
		_, err := sn.Prepare(testContext(), "after", "")
		require.NoError(t, err, name)
	}
	require.NoError(t, s.Client().Close())
	_, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.NoError(t, s.layers.Remove(testContext(), "c"))
}
