package libcontainer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// A death signal follows the thread that forked: containers must not notice
// that other threads end.
func TestThreadsEnd(t *testing.T) {
	d := newDriver(t)
	c, p := d.running("threads")
	sleeper, err := c.Exec(t.Context(), "e", d.process("sleep", "1000"), task.Stdio{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			unix.Getpid()
		})
	}
	wg.Wait()
	for i := range 20 {
		_, code := d.life(fmt.Sprint("other-", i), "true")
		require.Zero(t, code)
	}
	for _, pid := range []int{p.Pid, sleeper.Pid} {
		require.True(t, alive(pid), "died with a thread")
	}
	// The kernel does not let the first process of a pid namespace end before
	// the others have been waited for.
	require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
	require.Equal(t, 137, wait(t, sleeper.Pid))
}

// victimEnv makes this test binary a shim that is to be killed: its value is a
// directory.
const victimEnv = "CTOR_TEST_VICTIM"

// When the shim is killed its containers die, whatever they were doing, also
// those of another user.
func TestShimKilled(t *testing.T) {
	d := newDriver(t)
	for range 5 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), victimEnv+"="+d.dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		var pids []int
		lines := bufio.NewScanner(out)
		for lines.Scan() && lines.Text() != "ready" {
			var pid int
			_, err := fmt.Sscan(lines.Text(), &pid)
			require.NoError(t, err, lines.Text())
			pids = append(pids, pid)
		}
		require.Len(t, pids, 5)
		for _, pid := range pids {
			require.True(t, alive(pid))
		}
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		thaw(d)
		for _, pid := range pids {
			require.Eventually(t, func() bool { return !alive(pid) }, 30*time.Second, time.Millisecond, "outlived its shim")
		}
		for _, pid := range slices.Backward(pids) { // this process is a subreaper
			require.Equal(t, 137, wait(t, pid))
		}
		// What the kernel does not undo is for the next engine.
		require.Eventually(t, func() bool { return sweep(d) }, 30*time.Second, 10*time.Millisecond)
	}
}

// victim makes containers in different states, tells their processes, and
// waits for its end.
func victim(dir string) {
	var t victimT
	d := &driver{t: &t, dir: dir, state: filepath.Join(dir, "state"), rootfs: filepath.Join(dir, "rootfs")}
	d.cgroup = fmt.Sprintf("/ctor-exec-test-%d", os.Getppid())
	var err error
	d.exec, err = New(d.state, "")
	require.NoError(&t, err)
	create := func(id string, uid uint32) (task.Container, int) {
		spec := d.spec(id, "sleep", "1000")
		spec.Process.User = specs.User{UID: uid, GID: uid}
		c, p, err := d.exec.Create(context.Background(), d.bundle(spec, id), task.Stdio{})
		require.NoError(&t, err)
		return c, p.Pid
	}
	_, waiting := create("waiting", 0)
	running, first := create("running", 0)
	require.NoError(&t, running.Start(context.Background()))
	other, user := create("user", 1000)
	require.NoError(&t, other.Start(context.Background()))
	paused, frozen := create("paused", 1000)
	require.NoError(&t, paused.Start(context.Background()))
	p := d.process("sleep", "1000")
	p.User = specs.User{UID: 1000, GID: 1000}
	more, err := running.Exec(context.Background(), "e", p, task.Stdio{})
	require.NoError(&t, err)
	require.NoError(&t, paused.Pause(context.Background()))
	fmt.Printf("%d\n%d\n%d\n%d\n%d\nready\n", waiting, first, user, frozen, more.Pid)
	select {}
}

// victimT is a testing.TB outside a test.
type victimT struct{ testing.TB }

func (*victimT) Helper()                  {}
func (*victimT) Context() context.Context { return context.Background() }
func (*victimT) FailNow()                 { os.Exit(1) }
func (*victimT) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// alive is false for what has no memory any more: zombies, and what waits for
// their being waited for.
func alive(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil
}

// thaw wakes the paused container: with cgroup v1 a frozen process does not
// even die.
func thaw(d *driver) {
	for _, path := range victimCgroups(d, "paused/freezer.state") {
		require.NoError(d.t, os.WriteFile(path, []byte("THAWED"), 0))
	}
}

func victimCgroups(d *driver, pattern string) []string {
	v := *d
	v.cgroup = fmt.Sprintf("/ctor-exec-test-%d", os.Getpid())
	return v.cgroups(pattern)
}

// sweep removes the cgroups and the state of a killed shim.
func sweep(d *driver) bool {
	swept := true
	for _, pattern := range []string{"*/cgroup.procs", "cgroup.procs"} {
		for _, path := range victimCgroups(d, pattern) {
			swept = syscall.Rmdir(filepath.Dir(path)) == nil && swept
		}
	}
	return swept && os.RemoveAll(d.state) == nil
}
