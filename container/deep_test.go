package container_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/container"
)

// A container can make a tree deeper than its program may have files open,
// which is no obstacle to its end.
func TestCloseDeep(t *testing.T) {
	if testing.Short() {
		t.Skip("makes twenty thousand directories")
	}
	t.Parallel()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	levels := int(min(limit.Cur, 30_000)) + 1000
	c := inState(t, busybox(t), container.Running, container.Config{})
	at, err := unix.Open(fmt.Sprintf("/proc/%d/root/tmp", info(t, c).Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range levels {
		require.NoError(t, unix.Mkdirat(at, "d", 0o755))
		next, err := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(at))
		at = next
	}
	require.NoError(t, unix.Close(at))
	require.NoError(t, c.Close())
}
