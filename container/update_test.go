package container_test

import (
	"fmt"
	"github.com/ctorhq/ctor/internal/fixture"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// wholeDisk is the path of the disk that the engine is on, "" if that is none.
func wholeDisk(t *testing.T) (path string, numbers string) {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(containertest.Engine(t).Root(), &st))
	numbers = fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	name, err := os.Readlink("/sys/dev/block/" + numbers)
	if _, qerr := os.Stat("/sys/dev/block/" + numbers + "/queue"); err != nil || qerr != nil {
		return "", numbers
	}
	return "/dev" + name[strings.LastIndex(name, "/"):], numbers
}

// Update changes what the kernel's own files say, of the life that runs and of the
// next, and takes away what it does not name.
func TestUpdate(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("echo ready; sleep 1000")
	cfg.Limits = container.Limits{CPUs: 0.5, Memory: 32 << 20, Pids: 20}
	disk, numbers := wholeDisk(t)
	if disk != "" {
		cfg.Limits.IO.Rates = map[string]container.Rate{disk: {WriteBytes: 1 << 20}}
	}
	c := start(t, busybox(t), cfg)
	next := container.Limits{CPUs: 0.25, CPUSet: "0", CPUShares: 512, Memory: 64 << 20, Swap: 8 << 20, Pids: 30}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"); err != nil {
		next.Swap = 0
	}
	require.NoError(t, c.Update(t.Context(), next))
	has := func(l container.Limits) {
		t.Helper()
		quota := map[float64][]string{0.25: {"25000", "25000 100000"}, 0: {"-1", "max 100000"}}[l.CPUs]
		require.Contains(t, quota, cgroupFile(t, c, "cpu", "cpu.cfs_quota_us", "cpu.max"))
		memory := []string{fmt.Sprint(l.Memory)}
		if l.Memory == 0 {
			memory = []string{"9223372036854771712", "max"}
		}
		require.Contains(t, memory, cgroupFile(t, c, "memory", "memory.limit_in_bytes", "memory.max"))
		require.Equal(t, fmt.Sprint(max(l.Pids, 1)), cgroupFile(t, c, "pids", "pids.max", "pids.max"))
		require.NotContains(t, cgroupFile(t, c, "blkio", "blkio.throttle.write_bps_device", "io.max"), numbers)
	}
	has(next)
	require.Equal(t, "0", cgroupFile(t, c, "cpuset", "cpuset.cpus", "cpuset.cpus"))
	require.Contains(t, []string{"512", "59", "20"}, cgroupFile(t, c, "cpu", "cpu.shares", "cpu.weight"))
	if next.Swap > 0 {
		require.Equal(t, fmt.Sprint(next.Memory+next.Swap), cgroupFile(t, c, "memory", "memory.memsw.limit_in_bytes", ""))
	}
	s := stats(t, c)
	require.Equal(t, next.Memory, s.MemoryLimit)
	require.Equal(t, next.Pids, s.PidsLimit)

	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Start(t.Context()))
	has(next) // the next life
	require.NoError(t, c.Update(t.Context(), container.Limits{Pids: 40}))
	has(container.Limits{Pids: 40})
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Update(t.Context(), container.Limits{Pids: 50}))
	require.NoError(t, c.Start(t.Context()))
	has(container.Limits{Pids: 50})
}

// What can't be had leaves the limits what they were.
func TestUpdateRefused(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; echo ready; sleep 1000")
	cfg.Limits = container.Limits{Memory: 64 << 20, Pids: 20, Ulimits: map[string]container.Ulimit{"nofile": {Soft: 100}}}
	c := start(t, busybox(t), cfg)
	for name, bad := range map[string]struct {
		limits container.Limits
		class  error
		says   string
	}{
		"less than in use":  {container.Limits{Memory: 8 << 20, Pids: 99}, ctor.ErrInvalid, "the container uses"},
		"no such CPU":       {container.Limits{CPUSet: "4095", Pids: 99}, ctor.ErrInvalid, "this host has"},
		"no list":           {container.Limits{CPUSet: "x"}, ctor.ErrInvalid, "no range"},
		"fixed":             {container.Limits{Ulimits: map[string]container.Ulimit{"nofile": {Soft: 101}}}, ctor.ErrInvalid, "was made with"},
		"fixed shm":         {container.Limits{Shm: 1 << 20}, ctor.ErrInvalid, "was made with"},
		"too little":        {container.Limits{Memory: 1}, ctor.ErrInvalid, "needs"},
		"swap alone":        {container.Limits{Swap: 1 << 20}, ctor.ErrInvalid, "without one of memory"},
		"shares":            {container.Limits{CPUShares: 1}, ctor.ErrInvalid, "shares"},
		"no disk":           {container.Limits{IO: container.IO{Rates: map[string]container.Rate{"/dev/null": {Reads: 1}}}}, ctor.ErrInvalid, "no block device"},
		"no such disk":      {container.Limits{IO: container.IO{Rates: map[string]container.Rate{"/dev/nothing": {Reads: 1}}}}, ctor.ErrNotFound, "no such file"},
		"weight out of all": {container.Limits{IO: container.IO{Weight: 5}}, ctor.ErrInvalid, "from 10 to 1000"},
	} {
		err := c.Update(t.Context(), bad.limits)
		require.ErrorIs(t, err, bad.class, name)
		require.ErrorContains(t, err, bad.says, name)
	}
	require.Equal(t, "20", cgroupFile(t, c, "pids", "pids.max", "pids.max"))
	require.Equal(t, "67108864", cgroupFile(t, c, "memory", "memory.limit_in_bytes", "memory.max"))
	require.NoError(t, c.Update(t.Context(), cfg.Limits), "what is fixed may be named again")
	require.NoError(t, c.Remove(t.Context()))
	require.ErrorIs(t, c.Update(t.Context(), cfg.Limits), ctor.ErrNotFound)
}

func TestFixedLimits(t *testing.T) {
	t.Parallel()
	cfg := sh("ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; df -k /dev/shm | tail -1 | awk '{print $2}'; head -c 3 /dev/nothing | wc -c; echo x >/dev/nothing")
	cfg.Limits = container.Limits{
		Ulimits:  map[string]container.Ulimit{"nofile": {Soft: 123, Hard: 456}, "core": {}},
		Shm:      1 << 20,
		OOMScore: 500,
		Devices:  []container.Device{{Source: "/dev/zero", Target: "/dev/nothing", Access: "rw"}},
	}
	require.Equal(t, "123\n456\n0\n500\n1024\n3\n", stdout(t, busybox(t), cfg))
}

// The lives that the shim of a detached container begins by itself have the limits of
// the last Update, whether the container ran at that time or was between two lives.
func TestUpdateDetached(t *testing.T) {
	t.Parallel()
	cfg := sh("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; until [ -e /go ]; do sleep 0.02; done; exit 1")
	cfg.Detach, cfg.Limits.Pids = true, 50
	c := restarted(t, containertest.Engine(t), cfg, container.Always)
	says := func(limit string) { // in whichever life
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(logs(t, c), limit+"\n") }, time.Minute, 10*time.Millisecond)
	}
	says("50")
	require.NoError(t, c.Update(t.Context(), container.Limits{Pids: 60}))
	require.Equal(t, "60", cgroupFile(t, c, "pids", "pids.max", "pids.max"))
	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	says("60")

	require.NoError(t, c.FS().WriteFile("go", nil, 0o600))
	eventually(t, c, in(container.Restarting))
	require.NoError(t, c.Update(t.Context(), container.Limits{Pids: 70}))
	require.NoError(t, c.FS().Remove("go"))
	says("70")
}
