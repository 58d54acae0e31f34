package services

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A layer that is still held at the end goes, with what it kept; if it can't be
// removed, that is told, and is in no one's way afterwards.
func TestLayerLeft(t *testing.T) {
	s, image, dir := classed(t)
	again := func() {
		cfg := config(filepath.Dir(filepath.Dir(dir)))
		cfg.Owner, cfg.Scratch = "io.test.owner", scratch
		var err error
		s, err = Start(testContext(), cfg)
		require.NoError(t, err)
	}
	bases := func() (found []string) {
		db := s.layers.bases.overlay
		require.NoError(t, db.Walk(testContext(), func(_ context.Context, i snapshots.Info) error {
			found = append(found, i.Name)
			return nil
		}, `labels."io.test.owner"`))
		return found
	}
	_, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.Len(t, bases(), 1)
	require.NoError(t, s.Close())
	require.Empty(t, entries(t, dir))

	again()
	require.Empty(t, bases())
	ms, err := prepare(s, "c", image)
	require.NoError(t, err)
	stuck := option(ms[0], "upperdir")
	require.NoError(t, unix.Mount("tmpfs", stuck, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(stuck, 0) })
	require.ErrorIs(t, s.Close(), unix.EBUSY)
	require.NoError(t, unix.Unmount(stuck, 0))

	again()
	_, err = prepare(s, "c", image)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
