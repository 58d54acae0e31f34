package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// cgroupFile reads a file of the cgroup that a container's first process is
// in: the v1 hierarchy's that has the controller, or the v2 one's.
func cgroupFile(t *testing.T, c *container.Container, controller, v1, v2 string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", itoa(info(t, c).Pid), "cgroup"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, name := range strings.Split(f[1], ",") {
			if name == controller {
				return read(t, filepath.Join("/sys/fs/cgroup", controller, f[2], v1))
			}
		}
	}
	_, path, _ := strings.Cut(string(b), "0::")
	return read(t, filepath.Join("/sys/fs/cgroup", strings.TrimSpace(path), v2))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

func TestLimits(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("echo ready; sleep 100")
	cfg.Limits = container.Limits{CPUs: 0.29, Memory: 32 << 20, Pids: 17}
	c := start(t, busybox(t), cfg)
	require.Equal(t, "17", cgroupFile(t, c, "pids", "pids.max", "pids.max"))
	require.Equal(t, "33554432", cgroupFile(t, c, "memory", "memory.limit_in_bytes", "memory.max"))
	require.Contains(t, []string{"29000", "29000 100000"}, cgroupFile(t, c, "cpu", "cpu.cfs_quota_us", "cpu.max"))

	c = start(t, busybox(t), sh("echo ready; sleep 100"))
	require.Equal(t, "4096", cgroupFile(t, c, "pids", "pids.max", "pids.max"))
	cfg.Limits = container.Limits{Pids: -1}
	c = start(t, busybox(t), cfg)
	require.Equal(t, "max", cgroupFile(t, c, "pids", "pids.max", "pids.max"))
}

// Swap counts as memory.
func TestSwapLimit(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"); err != nil {
		t.Skip("this host does not count swap")
	}
	cfg := sh("echo ready; sleep 100")
	cfg.Limits.Memory = 32 << 20
	c := start(t, busybox(t), cfg)
	require.Equal(t, "33554432", cgroupFile(t, c, "memory", "memory.memsw.limit_in_bytes", ""))
}

func TestMemoryHog(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("x=0123456789abcdef; while true; do x=$x$x; done")
	cfg.Limits.Memory = 16 << 20
	c := containertest.Run(t, busybox(t), cfg)
	e := exitOf(t, c)
	require.True(t, e.OOMKilled)
	require.Equal(t, 137, e.Code)
	require.ErrorContains(t, e, "out of memory")
	require.True(t, info(t, c).OOMKilled)

	c = start(t, busybox(t), sh("echo ready; sleep 100"))
	require.False(t, info(t, c).OOMKilled)
}

// The container lives on.
func TestMemoryHogBelow(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("dd if=/dev/zero of=/dev/null bs=64M count=1; echo ready; sleep 100")
	cfg.Limits.Memory = 16 << 20
	i := info(t, start(t, busybox(t), cfg))
	require.True(t, i.OOMKilled)
	require.Equal(t, container.Running, i.State)
}

func TestForkBomb(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("i=0; while [ $i -lt 30 ]; do sleep 100 & i=$((i+1)); done; exit 0")
	cfg.Limits.Pids = 10
	_, eout, err := output(t, busybox(t), cfg)
	require.Error(t, err)
	require.Contains(t, eout, "can't fork")
}

// What this root may not raise is told before anything is made.
func TestRaisedLimits(t *testing.T) {
	t.Parallel()
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	for _, limits := range []container.Limits{
		{OOMScore: -500},
		{Ulimits: map[string]container.Ulimit{"nofile": {Soft: int64(l.Max) + 1}}},
	} {
		cfg := sh("true")
		cfg.Limits = limits
		c, err := busybox(t).New(t.Context(), cfg)
		if err == nil {
			require.NoError(t, c.Close())
			continue
		}
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		require.ErrorContains(t, err, "start the program with CAP_SYS_RESOURCE")
	}
}
