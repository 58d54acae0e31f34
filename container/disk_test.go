package container_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// A container that fills its disk is stopped, by the kernel or by its program, and
// its neighbours write on.
func TestDiskLimit(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	cfg := sh("[ -e /stop ] && exit 7; while dd if=/dev/zero of=/full bs=1M count=64 2>/dev/null; do sleep 0.1; done; exit 7")
	cfg.Limits.Disk = 8 << 20
	c := containertest.Run(t, img, cfg)
	beside := start(t, img, sh("dd if=/dev/zero of=/x bs=1M count=32 2>/dev/null && echo ready; sleep 1000"))
	e := exitOf(t, c)
	if e.Code == 7 {
		require.False(t, e.DiskExceeded, "the kernel has refused")
		return
	}
	require.True(t, e.DiskExceeded)
	require.Equal(t, 137, e.Code)
	require.ErrorContains(t, e, "more on the disk than it may have")
	require.True(t, info(t, c).DiskExceeded)
	require.Equal(t, container.Running, info(t, beside).State)

	// What it has goes on counting in the next life, and what it gives back does not.
	require.NoError(t, c.Start(t.Context()))
	require.True(t, exitOf(t, c).DiskExceeded)
	require.NoError(t, c.FS().Remove("full"))
	require.NoError(t, c.FS().WriteFile("stop", nil, 0o644))
	require.NoError(t, c.Start(t.Context()))
	e = exitOf(t, c)
	require.False(t, e.DiskExceeded)
	require.Equal(t, 7, e.Code)
	require.False(t, info(t, c).DiskExceeded)

	cfg.Limits.Disk = 1
	_, err := img.New(t.Context(), cfg)
	require.ErrorIs(t, err, ctor.ErrInvalid)
}
