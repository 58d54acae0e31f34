package whole

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/fixture"
)

// helpDirty opens a root and runs an attached and a detached container in it,
// each with a command. Their processes sleep for the seconds that it is given.
func helpDirty(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, args[1])
	if err != nil {
		return err
	}
	for n, detach := range []bool{false, true} {
		c, err := img.Run(ctx, container.Config{Name: fmt.Sprint("c", n), Args: []string{"sleep", args[2+2*n]}, Detach: detach, Dir: "/made"})
		if err != nil {
			return err
		}
		if err := c.Command(ctx, "sleep", args[3+2*n]).Start(); err != nil {
			return err
		}
		tty := c.Command(ctx, "tty")
		tty.TTY = true
		if out, err := tty.Output(); err != nil || !strings.Contains(string(out), "/dev/") {
			return fmt.Errorf("terminal: %q, %w", out, err)
		}
	}
	ready()
	return e.Close()
}

// dirty starts a program in every way that processes hand on. What it changes of
// itself, a shell can, but for what is left to util-linux.
const dirty = `
umask 077
trap '' TSTP
exec 9>"$LOCK" && flock -s 9
echo 500 >/proc/self/oom_score_adj
echo 70000 >/proc/self/timerslack_ns
export TMPDIR=/no/such XDG_RUNTIME_DIR=/no/such NOTIFY_SOCKET=/no/such LISTEN_FDS=1 LD_PRELOAD= GODEBUG=madvdontneed=1 SECRET=x
exec env --block-signal=USR1 nice -n 5 taskset -c 0 ionice -c 3 chrt -b 0 setarch -R "$0" "$@"
`

// What a program was started with is the program's: its shims and containers,
// attached and detached, and commands in them begin with a clean slate.
func TestCleanSlate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	ref := fixture.Busybox(t, e).Ref()
	require.NoError(t, e.Close())

	lock := filepath.Join(t.TempDir(), "lock")
	var naps []string
	for n := range 4 {
		naps = append(naps, fmt.Sprintf("%d%d", 100+n, os.Getpid()))
	}
	cmd := fixture.Program("dirty", append([]string{root, ref}, naps...)...)
	program, err := os.Executable()
	require.NoError(t, err)
	cmd.Args = append([]string{"bash", "-c", dirty, program}, cmd.Args[1:]...)
	cmd.Path, err = exec.LookPath("bash")
	require.NoError(t, err)
	cmd.Env = append(cmd.Env, "LOCK="+lock)
	t.Cleanup(func() { closeAll(t, root) })
	running := fixture.Start(t, cmd)
	require.Equal(t, "077", umask(t, running.Process.Pid), "the library has changed nothing of the program")
	require.NotEqual(t, clean(t), inherited(t, running.Process.Pid))

	var shims []int
	for n, nap := range naps {
		pid := sleeper(t, nap)
		require.Equal(t, clean(t), inherited(t, pid), "process %d of attached, command, detached, command", n)
		if n%2 == 0 {
			shims = append(shims, parent(t, pid))
		}
	}
	for _, pid := range shims {
		got := inherited(t, pid)
		got["signals blocked"] = clean(t)["signals blocked"] // Go's, on a thread that has ended
		require.Equal(t, clean(t), got, "shim %d", pid)
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		require.NoError(t, err)
		for v := range strings.SplitSeq(string(env), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			require.Contains(t, []string{"", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "GORACE", "GOMAXPROCS", "CTOR_SHIM_FILTERS", "CTOR_SHIM_CGROUPS"}, name)
			if name == "TMPDIR" || name == "XDG_RUNTIME_DIR" {
				require.Contains(t, value, root)
			}
		}
		for _, to := range files(t, pid) {
			require.NotEqual(t, lock, to, "it holds the program's lock")
		}
	}
	running.Kill(t)
	f, err := os.Open(lock)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), "nobody has the program's lock any more")

	e = fixture.Engine(t, ctor.Config{Root: root})
	c, err := container.Get(t.Context(), e, "c1")
	require.NoError(t, err)
	for path, mode := range map[string]os.FileMode{".": 0o755, "made": 0o755, "etc/hosts": 0o644} {
		info, err := c.FS().Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

// closeAll closes the containers that programs have left in a root.
func closeAll(t *testing.T, root string) {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: root})
	require.NoError(t, err)
	all, err := container.List(ctx, e)
	require.NoError(t, err)
	for _, c := range all {
		require.NoError(t, c.Close())
	}
	require.NoError(t, e.Close())
}

// A program that is killed leaves no cgroup either, not even the empty one that
// its containers' were in, though no engine opens the root again.
func TestKilledCgroup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	ref := fixture.Busybox(t, e).Ref()
	require.NoError(t, e.Close())
	parent := cgroup.Parent(root, "ctor")
	cgroups := func() []string {
		v1, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
		v2, _ := filepath.Glob("/sys/fs/cgroup" + parent)
		return append(v1, v2...)
	}
	h := fixture.Start(t, fixture.Program("hold", root, ref, "attached"))
	require.NotEmpty(t, cgroups())
	h.Kill(t)
	require.Eventually(t, func() bool { return len(cgroups()) == 0 }, prompt, time.Millisecond)
}

// A root that can be written to is all of the host's directories that an engine
// needs.
func TestRootIsEnough(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	ref := fixture.Busybox(t, e).Ref()
	require.NoError(t, e.Close())
	cmd := fixture.Program("dirty", root, ref, "1", "1", "1", "1")
	program, err := os.Executable()
	require.NoError(t, err)
	script := `mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / || exit 1
		for dir in $(awk '$5 !~ "^/(sys|proc|dev)" && $5 != "/" {print $5}' /proc/self/mountinfo); do
			# A mount goes when another program removes what it is on.
			[ "$dir" = "$1" ] || mount -o remount,bind,ro "$dir" || ! mountpoint -q "$dir" || exit 1
		done
		exec "$0" "$@"`
	cmd.Args = append([]string{"unshare", "-m", "bash", "-c", script, program}, cmd.Args[1:]...)
	cmd.Path, err = exec.LookPath("unshare")
	require.NoError(t, err)
	t.Cleanup(func() { closeAll(t, root) })
	fixture.Start(t, cmd).End(t)
}

// clean is what a process inherits from a shim.
func clean(t *testing.T) map[string]string {
	var all unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(1, &all))
	return map[string]string{
		"umask": "022", "signals blocked": "0000000000000000", "signals ignored": "0000000000000000",
		"oom_score_adj": "0", "personality": "00000000", "timer slack": "50000",
		"nice": "20", "policy": "0", "I/O priority": "0", "processors": fmt.Sprint(all.Count()),
	}
}

// inherited reads it of a process.
func inherited(t *testing.T, pid int) map[string]string {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	require.NoError(t, err)
	attr, err := unix.SchedGetAttr(pid, 0)
	require.NoError(t, err)
	io, _, _ := unix.RawSyscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
	var cpus unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(pid, &cpus))
	return map[string]string{
		"umask": umask(t, pid), "signals blocked": status(t, pid, "SigBlk"), "signals ignored": status(t, pid, "SigIgn"),
		"oom_score_adj": read("oom_score_adj"), "personality": read("personality"), "timer slack": read("timerslack_ns"),
		"nice": fmt.Sprint(nice), "policy": fmt.Sprint(attr.Policy), "I/O priority": fmt.Sprint(io), "processors": fmt.Sprint(cpus.Count()),
	}
}

func status(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("process %d has no %s", pid, name)
	return ""
}

func umask(t *testing.T, pid int) string {
	t.Helper()
	n, err := strconv.ParseUint(status(t, pid, "Umask"), 8, 32)
	require.NoError(t, err)
	return fmt.Sprintf("%03o", n)
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	n, err := strconv.Atoi(status(t, pid, "PPid"))
	require.NoError(t, err)
	return n
}

func files(t *testing.T, pid int) (to []string) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil {
			to = append(to, name)
		}
	}
	return to
}

// sleeper finds the process that sleeps for so many seconds, or is about to.
func sleeper(t *testing.T, seconds string) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		i := slices.IndexFunc(all, func(path string) bool {
			b, _ := os.ReadFile(path)
			return string(b) == "sleep\x00"+seconds+"\x00"
		})
		if i < 0 {
			return false
		}
		pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(all[i])))
		return true
	}, prompt, 10*time.Millisecond, "nothing sleeps for %s", seconds)
	return pid
}
