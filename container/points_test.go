package container_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// What a container has mounted on lies in a layer that all share, and not in its own,
// where it would have to be made and removed for each.
func TestMountPoints(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	c, err := busybox(t).New(t.Context(), container.Config{Args: []string{"sh", "-c", "echo >> /etc/hosts"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	ctx := e.Context(t.Context())
	mounts, err := e.Containerd().SnapshotService("overlayfs").Mounts(ctx, c.ID())
	require.NoError(t, err)
	made, err := os.ReadDir(rootfs.Upper(mounts))
	require.NoError(t, err)
	require.Empty(t, made)
	f, err := c.FS().Stat("proc")
	require.NoError(t, err, "it is seen all the same")
	require.Equal(t, os.ModeDir|0o755, f.Mode())
}
