package services

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A layer that somebody could not remove is told at the end, and what it was
// over is in nobody's way afterwards.
func TestLayerLeft(t *testing.T) {
	s, image, dir := classed(t)
	_, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.ErrorContains(t, s.Close(), "layers over test/layer1 are still there")

	cfg := config(filepath.Dir(filepath.Dir(dir)))
	cfg.Owner, cfg.Scratch = "io.test.owner", scratch
	s, err = Start(testContext(), cfg)
	require.NoError(t, err)
	_, err = prepare(s, "c", image)
	require.NoError(t, err)
	require.NoError(t, s.Client().SnapshotService(overlayfs).Remove(testContext(), "c"))
	require.NoError(t, s.Close())
}
