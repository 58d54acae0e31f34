package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

func TestTop(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("sleep 1000 & echo ready; wait")
	cfg.StopTimeout = -1
	cfg.User = "1000"
	c := start(t, busybox(t), cfg)
	var list []container.ProcessInfo
	require.Eventually(t, func() bool {
		var err error
		list, err = c.Top(t.Context())
		return err == nil && len(list) == 2 && len(list[1].Args) == 2
	}, time.Minute, time.Millisecond, "sleep is executed")
	first, second := list[0], list[1]
	require.Equal(t, info(t, c).Pid, first.HostPid)
	require.Equal(t, 1, first.Pid)
	require.Equal(t, []string{"sh", "-c", "sleep 1000 & echo ready; wait"}, first.Args)
	require.Equal(t, first.HostPid, second.Parent)
	require.Equal(t, []string{"sleep", "1000"}, second.Args)
	require.Equal(t, "sleep", second.Name)
	for _, p := range list {
		require.Equal(t, 1000, p.UID)
		require.Equal(t, 1, p.Threads)
		require.Equal(t, "S", p.State)
		require.NotZero(t, p.Memory)
	}
	require.NoError(t, c.Command(t.Context(), "true").Run())
	require.NoError(t, c.Pause(t.Context()))
	list, err := c.Top(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2, "of one that is paused as well")
	require.NoError(t, c.Resume(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
	_, err = c.Top(t.Context())
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.NoError(t, c.Close())
	_, err = c.Top(t.Context())
	require.Error(t, err)
}
