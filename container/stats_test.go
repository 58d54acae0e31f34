package container_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	fixture.NeedsCgroups(t)
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
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("echo ready; sleep 1000")
	cfg.Limits.Pids = -1
	s := stats(t, start(t, busybox(t), cfg))
	require.Zero(t, s.MemoryLimit)
	require.Zero(t, s.PidsLimit)
	require.Zero(t, s.CPUThrottled)
}

func TestStatsBlocks(t *testing.T) {
	fixture.NeedsCgroups(t)
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
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("while true; do true; done")
	cfg.Limits.CPUs = 0.01
	c := containertest.Run(t, busybox(t), cfg)
	require.Eventually(t, func() bool { return stats(t, c).CPUThrottled > 0 }, time.Minute, 10*time.Millisecond)
}

// Stats says what the kernel's own files say, with either version.
func TestStatsAreTheKernels(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=32 2>/dev/null; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; sleep 1000")
	cfg.Limits = container.Limits{Memory: 256 << 20, CPUs: 1.5}
	c := start(t, busybox(t), cfg)
	require.NoError(t, c.Pause(t.Context())) // nothing changes meanwhile
	number := func(controller, one, two, word string) float64 {
		text := cgroupFile(t, c, controller, one, two)
		if word != "" {
			_, text, _ = strings.Cut("\n"+text, "\n"+word+" ")
			text, _, _ = strings.Cut(text, "\n")
		}
		n, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		return n
	}
	unified := cgroupFileExists(t, c, "cpu.stat")
	s := stats(t, c)
	cpu, inactive := "", "total_inactive_file"
	nanoseconds := 1.0
	if unified {
		cpu, inactive, nanoseconds = "usage_usec", "inactive_file", 1000
	}
	require.InEpsilon(t, nanoseconds*number("cpuacct", "cpuacct.usage", "cpu.stat", cpu), float64(s.CPU), 0.02)
	memory := number("memory", "memory.usage_in_bytes", "memory.current", "") - number("memory", "memory.stat", "memory.stat", inactive)
	require.InEpsilon(t, memory, float64(s.Memory), 0.02)
	require.EqualValues(t, number("memory", "memory.limit_in_bytes", "memory.max", ""), s.MemoryLimit)
	require.EqualValues(t, number("pids", "pids.current", "pids.current", ""), s.Pids)
	require.EqualValues(t, number("pids", "pids.max", "pids.max", ""), s.PidsLimit)
}

// cgroupFileExists tells whether a container's cgroup of version 2 has a file.
func cgroupFileExists(t *testing.T, c *container.Container, name string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", itoa(info(t, c).Pid), "cgroup"))
	require.NoError(t, err)
	_, path, _ := strings.Cut(string(b), "0::")
	_, err = os.Stat(filepath.Join("/sys/fs/cgroup", strings.TrimSpace(path), name))
	return err == nil
}

func TestStatsEvery(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; exec sleep 1000"))
	var last container.Stats
	n := 0
	for s, err := range c.StatsEvery(t.Context(), time.Millisecond) {
		require.NoError(t, err)
		require.True(t, s.Time.After(last.Time))
		require.EqualValues(t, 1, s.Pids)
		last = s
		if n++; n == 5 {
			require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
			break
		}
	}
	_ = c.Wait(t.Context())
	for _, err := range c.StatsEvery(t.Context(), 0) {
		require.ErrorIs(t, err, ctor.ErrInvalid, "it has ended")
	}
	// The loop ends with the life.
	require.NoError(t, c.Start(t.Context()))
	n = 0
	for _, err := range c.StatsEvery(t.Context(), time.Millisecond) {
		require.NoError(t, err)
		if n++; n == 3 {
			require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
		}
	}
	require.GreaterOrEqual(t, n, 3)
	require.NoError(t, c.Start(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ends []error
	for _, err := range c.StatsEvery(ctx, time.Millisecond) {
		cancel()
		ends = append(ends, err)
	}
	require.NoError(t, ends[0])
	require.ErrorIs(t, ends[len(ends)-1], context.Canceled)
	ends = nil
	for _, err := range c.StatsEvery(t.Context(), time.Hour) {
		ends = append(ends, err)
		go c.Remove(context.WithoutCancel(t.Context()))
	}
	require.NoError(t, ends[0])
	require.ErrorIs(t, ends[1], ctor.ErrNotFound)
	require.Len(t, ends, 2)
}

// The loop ends with the life that it has begun in, whatever its policy begins next.
func TestStatsEveryRestarted(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"attached", "detached"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := restarted(t, containertest.Engine(t), kinds[kind](sh("exec sleep 1000")), container.Always)
			n := 0
			for _, err := range c.StatsEvery(t.Context(), time.Millisecond) {
				require.NoError(t, err)
				if n++; n == 2 {
					require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
					eventually(t, c, func(i container.Info) bool { return i.Lives == 2 && i.State == container.Running })
				}
			}
			require.GreaterOrEqual(t, n, 2)
		})
	}
}
