package cgroup

import (
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

func count(t *testing.T, metrics any) Counters {
	t.Helper()
	c, err := Count(time.Time{}, metrics)
	require.NoError(t, err)
	return c
}

// Both versions of cgroups count the same things, in units of their own.
func TestStatsVersions(t *testing.T) {
	t.Parallel()
	want := Counters{
		CPU: 5 * time.Second, CPUUser: 3 * time.Second, CPUSystem: 2 * time.Second, CPUThrottled: time.Second,
		Memory: 70, MemoryPeak: 200, MemoryLimit: 1000, Pids: 4, PidsLimit: 50,
		ReadBytes: 11, WrittenBytes: 22, Reads: 3, Writes: 4,
	}
	one := &v1.Metrics{
		CPU:    &v1.CPUStat{Usage: &v1.CPUUsage{Total: 5e9, User: 3e9, Kernel: 2e9}, Throttling: &v1.Throttle{ThrottledTime: 1e9}},
		Memory: &v1.MemoryStat{TotalInactiveFile: 30, Usage: &v1.MemoryEntry{Usage: 100, Max: 200, Limit: 1000}},
		Pids:   &v1.PidsStat{Current: 4, Limit: 50},
		Blkio: &v1.BlkIOStat{
			IoServiceBytesRecursive: []*v1.BlkIOEntry{{Op: "Read", Value: 10}, {Op: "Write", Value: 22}, {Op: "Total", Value: 32}, {Op: "Read", Major: 8, Value: 1}},
			IoServicedRecursive:     []*v1.BlkIOEntry{{Op: "Read", Value: 3}, {Op: "Write", Value: 4}, {Op: "Sync", Value: 7}},
		},
	}
	two := &v2.Metrics{
		CPU:    &v2.CPUStat{UsageUsec: 5e6, UserUsec: 3e6, SystemUsec: 2e6, ThrottledUsec: 1e6},
		Memory: &v2.MemoryStat{InactiveFile: 30, Usage: 100, MaxUsage: 200, UsageLimit: 1000},
		Pids:   &v2.PidsStat{Current: 4, Limit: 50},
		Io:     &v2.IOStat{Usage: []*v2.IOEntry{{Rbytes: 10, Wbytes: 20, Rios: 1, Wios: 4}, {Rbytes: 1, Wbytes: 2, Rios: 2}}},
	}
	require.Equal(t, want, count(t, one))
	require.Equal(t, want, count(t, two))

	one.Memory.Usage.Limit, one.Pids.Limit, one.Memory.TotalInactiveFile = 9223372036854771712, 0, 101
	two.Memory.UsageLimit, two.Pids.Limit, two.Memory.InactiveFile = 1<<64-1, 1<<64-1, 101
	want.MemoryLimit, want.PidsLimit, want.Memory = 0, 0, 0
	require.Equal(t, want, count(t, one))
	require.Equal(t, want, count(t, two))

	require.Zero(t, count(t, &v1.Metrics{}))
	require.Zero(t, count(t, &v2.Metrics{}))
	_, err := Count(time.Time{}, "counters")
	require.ErrorIs(t, err, errdefs.ErrNotImplemented)
}
