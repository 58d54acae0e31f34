package cgroup

import (
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// from gives files, by their names.
func from(files map[string]string) func(file) []byte {
	return func(f file) []byte { return []byte(files[f.name]) }
}

func counts(t *testing.T, files map[string]string, two bool) Counters {
	t.Helper()
	c := count(from(files), two)
	require.WithinDuration(t, time.Now(), c.Time, time.Minute)
	c.Time = time.Time{}
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
	one := map[string]string{
		"cpuacct.usage": "5000000000\n", "cpuacct.stat": "user 300\nsystem 200\n",
		"cpu.stat":              "nr_periods 3\nnr_throttled 2\nthrottled_time 1000000000\n",
		"memory.usage_in_bytes": "100\n", "memory.max_usage_in_bytes": "200\n", "memory.limit_in_bytes": "1000\n",
		"memory.stat":  "cache 1\ninactive_file 7\ntotal_cache 9\ntotal_inactive_file 30\n",
		"pids.current": "4\n", "pids.max": "50\n",
		"blkio.throttle.io_service_bytes_recursive": "254:0 Read 10\n254:0 Write 22\n254:0 Sync 32\n8:0 Read 1\nTotal 33\n",
		"blkio.throttle.io_serviced_recursive":      "254:0 Read 3\n254:0 Write 4\nTotal 7\n",
	}
	two := map[string]string{
		"cpu.stat":       "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 0\nthrottled_usec 1000000\n",
		"memory.current": "100\n", "memory.peak": "200\n", "memory.max": "1000\n", "memory.stat": "anon 1\ninactive_file 30\n",
		"pids.current": "4\n", "pids.max": "50\n",
		"io.stat": "254:0 rbytes=10 wbytes=20 rios=1 wios=4 dbytes=5 dios=6\n8:0 rbytes=1 wbytes=2 rios=2 wios=0\n",
	}
	require.Equal(t, want, counts(t, one, false))
	require.Equal(t, want, counts(t, two, true))

	one["memory.limit_in_bytes"], one["pids.max"], one["memory.usage_in_bytes"] = "9223372036854771712\n", "max\n", "29\n"
	two["memory.max"], two["pids.max"], two["memory.current"] = "max\n", "max\n", "29\n"
	want.MemoryLimit, want.PidsLimit, want.Memory = 0, 0, 0
	require.Equal(t, want, counts(t, one, false))
	require.Equal(t, want, counts(t, two, true))

	require.Zero(t, counts(t, nil, false))
	require.Zero(t, counts(t, nil, true))
}

func TestCountGone(t *testing.T) {
	_, err := At("/there-is-none").Count()
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = At("").Count()
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

// fresh makes a cgroup.
func fresh(t testing.TB, path string) {
	t.Helper()
	f, err := Begin(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Complete())
}

// A meter is for one cgroup: not for a later one of the same name.
func TestMeterOfTheDead(t *testing.T) {
	const path = "/ctor-meter"
	fresh(t, path)
	m := At(path).Meter()
	defer m.Close()
	_, err := m.Read()
	require.NoError(t, err)
	require.Less(t, testing.AllocsPerRun(100, func() { _, _ = m.Read() }), 8.0, "many containers are counted often")
	require.NoError(t, Drop(path))
	_, err = m.Read()
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	fresh(t, path)
	defer func() { require.NoError(t, Drop(path)) }()
	_, err = m.Read()
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = At(path).Count()
	require.NoError(t, err)
}
