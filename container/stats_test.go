package container_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

func stats(t testing.TB, c *container.Container) container.Stats {
	t.Helper()
	s, err := c.Stats(t.Context())
	require.NoError(t, err)
	return s
}

func TestStats(t *testing.T) {
	t.Parallel()
	cfg := sh(`
dd if=/dev/zero of=/tmp/memory bs=1M count=32 2>/dev/null
sleep 1000 & sleep 1000 &
i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done
echo ready; wait`)
	cfg.Mounts = []container.Mount{{Type: container.Tmpfs, Target: "/tmp"}}
	cfg.Limits = container.Limits{Memory: 512 << 20, Pids: 77}
	cfg.StopTimeout = 100 * time.Millisecond // its shell hears no signal
	c, err := busybox(t).New(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close()
	created := stats(t, c)
	require.WithinDuration(t, time.Now(), created.Time, time.Minute)
	require.NoError(t, c.Start(t.Context()))
	says(t, c, "ready")
	s := stats(t, c)
	require.Greater(t, s.CPU, created.CPU+time.Millisecond)
	require.Less(t, s.CPU, time.Minute)
	require.NotZero(t, s.CPUUser+s.CPUSystem)
	require.Greater(t, s.Memory, int64(32<<20))
	require.Less(t, s.Memory, int64(128<<20))
	// cgroup v2 tells since Linux 5.19.
	one, _ := filepath.Glob("/sys/fs/cgroup/memory/memory.max_usage_in_bytes")
	two, _ := filepath.Glob("/sys/fs/cgroup/*/memory.peak")
	if len(one)+len(two) > 0 {
		require.GreaterOrEqual(t, s.MemoryPeak, s.Memory)
	}
	require.EqualValues(t, 512<<20, s.MemoryLimit)
	require.EqualValues(t, 3, s.Pids)
	require.EqualValues(t, 77, s.PidsLimit)
	require.True(t, s.Time.After(created.Time))

	require.NoError(t, c.Pause(t.Context()))
	require.Eventually(t, func() bool {
		one, other := stats(t, c), stats(t, c)
		return one.CPU == other.CPU
	}, fixture.Patience, time.Millisecond)
	require.NoError(t, c.Resume(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Stats(ctx)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, c.Stop(t.Context()))
	_, err = c.Stats(t.Context())
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "it has ended with exit code ")
	require.NoError(t, c.Close())
	_, err = c.Stats(t.Context())
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

func TestStatsUnlimited(t *testing.T) {
	t.Parallel()
	cfg := sh("echo ready; sleep 1000")
	cfg.Limits.Pids = -1
	s := stats(t, start(t, busybox(t), cfg))
	require.Zero(t, s.MemoryLimit)
	require.Zero(t, s.PidsLimit)
	require.Zero(t, s.CPUThrottled)
}

func TestStatsBlocks(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(containertest.Engine(t).Root(), &st))
	major, minor := unix.Major(st.Dev), unix.Minor(st.Dev)
	if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/%d:%d/queue", major, minor)); err != nil {
		t.Skip("containers are not on a whole disk, and only disks can have limits")
	}
	cfg := sh("dd if=/dev/zero of=/file bs=64k count=16 oflag=direct 2>/dev/null; echo ready; sleep 1000")
	cfg.Spec = func(s *specs.Spec) error {
		rate := specs.LinuxThrottleDevice{Rate: 1 << 40}
		rate.Major, rate.Minor = int64(major), int64(minor)
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{rate}}
		return nil
	}
	s := stats(t, start(t, img, cfg))
	require.GreaterOrEqual(t, s.WrittenBytes, int64(1<<20))
	require.GreaterOrEqual(t, s.Writes, int64(16))
}

func TestStatsThrottled(t *testing.T) {
	t.Parallel()
	cfg := sh("while true; do true; done")
	cfg.Limits.CPUs = 0.01
	c := containertest.Run(t, busybox(t), cfg)
	require.Eventually(t, func() bool { return stats(t, c).CPUThrottled > 0 }, time.Minute, 10*time.Millisecond)
}
