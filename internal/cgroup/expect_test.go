package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThreadLists(t *testing.T) {
	for _, c := range []struct {
		name, cgroups string
		mounts, lists []string
	}{
		{"hybrid", "12:pids:/a\n3:cpu,cpuacct:/\n1:name=systemd:/b\n0::/c\n",
			[]string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/pids"},
			[]string{"/sys/fs/cgroup/pids/a/tasks", "/sys/fs/cgroup/cpu,cpuacct/tasks"}},
		{"version 2", "0::/system.slice/a:b.service\n", []string{"/sys/fs/cgroup"},
			[]string{"/sys/fs/cgroup/system.slice/a:b.service/cgroup.threads"}},
		{"out of the namespace", "0::/../other\n", []string{"/sys/fs/cgroup"}, nil},
		{"none", "", []string{"/sys/fs/cgroup"}, nil},
		{"rubbish", "pids\n:\n", []string{"/sys/fs/cgroup"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.lists, threadLists([]byte(c.cgroups), c.mounts)) })
	}
}

// Every thread is where it was.
func TestExpectMove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	threads := func() map[string]string {
		in := map[string]string{}
		all, err := filepath.Glob("/proc/self/task/*/cgroup")
		require.NoError(t, err)
		for _, path := range all {
			if b, err := os.ReadFile(path); err == nil { // else it has ended
				in[path] = string(b)
			}
		}
		return in
	}
	before := threads()
	for range 20 {
		ExpectMove()
		require.Eventually(t, func() bool { return !expecting.Load() }, 10*time.Second, time.Millisecond)
	}
	for path, in := range threads() {
		if was, ok := before[path]; ok {
			require.Equal(t, was, in)
		}
	}
}

// BenchmarkMove moves a process into a cgroup, after so long a rest that the
// kernel has forgotten the last move: at once, and expected for 5 ms.
func BenchmarkMove(b *testing.B) {
	found, err := hierarchies()
	if err != nil || os.Geteuid() != 0 || len(found) == 0 {
		b.Skip("needs root and cgroups")
	}
	dir := filepath.Join(found[len(found)-1], "ctor-benchmark-move")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Skip(err)
	}
	defer os.Remove(dir)
	for _, expected := range []bool{false, true} {
		b.Run("expected="+strconv.FormatBool(expected), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := exec.Command("sleep", "60")
				if err := c.Start(); err != nil {
					b.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
				if expected {
					ExpectMove()
				}
				time.Sleep(5 * time.Millisecond)
				b.StartTimer()
				if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				_ = c.Process.Kill()
				_ = c.Wait()
				b.StartTimer()
			}
		})
	}
}
