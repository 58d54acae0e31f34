package native_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// A command that asks to be killed with its parent lives as long as the shim. With
// runc its parent is runc exec, which ends at once.
func TestDeathSignal(t *testing.T) {
	d := newDriver(t)
	build := exec.Command("go", "build", "-o", d.rootfs+"/bin/deathsignal", "./testdata/deathsignal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command to build a program")
	}
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	c, _ := d.running(d.spec("sleep", "1000"))
	in, input, err := os.Pipe()
	require.NoError(t, err)
	output, to, err := os.Pipe()
	require.NoError(t, err)
	defer output.Close()
	p, err := c.Exec(t.Context(), "e", d.spec("deathsignal").Process, task.Stdio{In: in, Out: to})
	require.NoError(t, err)
	in.Close()
	to.Close()
	said := bufio.NewReader(output)
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "set\n", line)
	for range 10 { // of these each forker has some
		_, err := d.command(c, d.spec("true").Process)
		require.NoError(t, err)
	}
	require.NoError(t, input.Close())
	line, err = said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "alive\n", line)
	reap(t, p.Pid)
}

// Whatever a container puts in the place of /dev/null while a command starts, a stream
// that the caller does not give is the device.
func TestNullExchanged(t *testing.T) {
	d := newDriver(t)
	c, p := d.running(d.spec("sleep", "1000"))
	dev := fmt.Sprintf("/proc/%d/root/dev/", p.Pid)
	require.NoError(t, os.WriteFile(dev+"file", []byte("x"), 0o666))
	require.NoError(t, os.Symlink("/proc/1/root/tmp", dev+"link"))
	require.NoError(t, unix.Mkfifo(dev+"fifo", 0o666))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for _, name := range []string{"file", "link", "fifo"} {
				select {
				case <-stop:
					return
				default:
					_ = unix.Renameat2(unix.AT_FDCWD, dev+name, unix.AT_FDCWD, dev+"null", unix.RENAME_EXCHANGE)
				}
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range 100 {
		out, err := d.command(c, d.spec("stat", "-L", "-c", "%t:%T", "/proc/self/fd/0").Process)
		require.NoError(t, err)
		require.Equal(t, "1:3\n", out)
	}
}

// A command that comes while its container ends is told that, or is killed with it.
func TestExecAtTheEnd(t *testing.T) {
	d := newDriver(t)
	for range 30 {
		c, p, err := d.create(d.spec("sleep", "1000"), task.Stdio{})
		require.NoError(t, err)
		require.NoError(t, c.Start(t.Context()))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					p, err := c.Exec(context.Background(), "e", d.spec("true").Process, task.Stdio{})
					if err != nil {
						if !errdefs.IsFailedPrecondition(err) {
							t.Error(err)
						}
						return
					}
					for {
						if _, err := unix.Wait4(p.Pid, nil, 0, nil); err != unix.EINTR {
							break
						}
					}
				}
			})
		}
		require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
		wg.Wait()
		reap(t, p.Pid)
		require.NoError(t, c.Delete(context.Background()))
	}
}

// A first process may divide its cgroup. Version 2 takes processes in the leaves only:
// commands follow it.
func TestExecIntoLeaf(t *testing.T) {
	if cgroups.Mode() != cgroups.Unified {
		t.Skip("needs a host with cgroup v2 alone")
	}
	d := newDriver(t)
	s := d.spec("sleep", "1000")
	c, p := d.running(s)
	group := filepath.Join(cgroup.Root, s.Linux.CgroupsPath)
	require.NoError(t, os.Mkdir(group+"/leaf", 0o755))
	require.NoError(t, os.WriteFile(group+"/leaf/cgroup.procs", fmt.Append(nil, p.Pid), 0))
	require.NoError(t, os.WriteFile(group+"/cgroup.subtree_control", []byte("+memory"), 0))
	out, err := d.command(c, d.spec("cat", "/proc/self/cgroup").Process)
	require.NoError(t, err)
	require.Equal(t, "0::/leaf\n", out)
	// A command follows no process out of the container's cgroup.
	outside := d.cgroup + "/outside"
	made, err := cgroup.Begin(outside)
	require.NoError(t, err)
	require.NoError(t, made.Complete())
	made.Close()
	require.NoError(t, os.WriteFile(filepath.Join(cgroup.Root, outside, "cgroup.procs"), fmt.Append(nil, p.Pid), 0))
	_, err = d.command(c, d.spec("true").Process)
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
}

// The home of a user is looked up in a file, and in nothing else that an image has in
// its place: to open a device may do something, and the kernel's files answer the
// shim more than the container may know.
func TestFalsePasswd(t *testing.T) {
	d := newDriver(t)
	passwd := d.rootfs + "/etc/passwd"
	home := func(c task.Container, args ...string) string {
		p := d.spec(args...).Process
		out, err := d.command(c, p)
		require.NoError(t, err)
		return strings.TrimSpace(out)
	}
	// A process's arguments can be read as a passwd, by /proc.
	c, _ := d.running(d.spec("sh", "-c", "sleep 1000 #\nroot:x:0:0::/stolen:/bin/sh\n"))
	require.NoError(t, os.WriteFile(passwd, []byte("root:x:0:0::/mine:/bin/sh\n"), 0o644))
	require.Equal(t, "/mine", home(c, "sh", "-c", "echo $HOME"))
	require.NoError(t, os.Remove(passwd))
	require.NoError(t, os.Symlink("/proc/1/cmdline", passwd))
	require.Equal(t, "/", home(c, "sh", "-c", "echo $HOME"))

	require.NoError(t, os.Remove(passwd))
	require.NoError(t, unix.Mknod(passwd, unix.S_IFCHR|0o666, 1<<8|5))
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(watch)
	_, err = unix.InotifyAddWatch(watch, passwd, unix.IN_OPEN)
	require.NoError(t, err)
	require.Equal(t, "/", home(c, "sh", "-c", "echo $HOME"))
	_, err = unix.Read(watch, make([]byte, 4096))
	require.ErrorIs(t, err, unix.EAGAIN, "it was opened")
}

// Limits are the command's, and don't hinder the steps before it.
func TestSmallLimits(t *testing.T) {
	d := newDriver(t)
	score := 100
	for _, files := range []uint64{0, 1, 2, 3, 4, 8} {
		s := d.spec("echo", "done")
		s.Process.OOMScoreAdj = &score
		s.Process.Rlimits = []specs.POSIXRlimit{
			{Type: "RLIMIT_NOFILE", Hard: files, Soft: files}, {Type: "RLIMIT_FSIZE"}, {Type: "RLIMIT_MEMLOCK"}, {Type: "RLIMIT_CORE"},
		}
		out, err := d.run(s)
		require.NoError(t, err, "%d", files)
		require.Equal(t, "done\n", out)
		c, _ := d.running(d.spec("sleep", "1000"))
		out, err = d.command(c, s.Process)
		require.NoError(t, err, "%d", files)
		require.Equal(t, "done\n", out)
	}
}

// What is set through procfs is set also where the container's own has no file for
// it, or can't be written to.
func TestSettingsWithoutProc(t *testing.T) {
	score := 100
	for _, options := range [][]string{{"ro"}, {"subset=pid"}, {"hidepid=2"}, nil} {
		d := newDriver(t)
		s := d.spec("cat", "/proc/self/oom_score_adj")
		without(s, "/proc")
		if options != nil {
			s.Mounts = append([]specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc", Options: options}}, s.Mounts...)
		} else {
			s.Process.Args, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = []string{"echo", "100"}, nil, nil
		}
		s.Process.OOMScoreAdj = &score
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		out, err := d.run(s)
		require.NoError(t, err, "%v", options)
		require.Equal(t, "100\n", out, "%v", options)
	}
}

// As many mounts as there is room for descriptors are made here, more by the other
// executor; no number is one that neither takes.
func TestManyMounts(t *testing.T) {
	d := newDriver(t)
	for _, n := range []int{200, 220, 230, 240, 300} {
		s := d.spec("true")
		for i := range n {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprint("/tmp/", i), Type: "bind", Source: d.dir, Options: []string{"bind"}})
		}
		e := nativeOver(t, handed{})
		c, p, err := e.Create(t.Context(), task.Bundle{ID: filepath.Base(s.Linux.CgroupsPath), Dir: d.dir, Rootfs: d.rootfs, Spec: s}, task.Stdio{})
		if n >= 240 {
			require.ErrorIs(t, err, errHanded, n)
			continue
		}
		if err != nil {
			require.ErrorIs(t, err, errHanded, n)
			continue
		}
		require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
		reap(t, p.Pid)
		require.NoError(t, c.Delete(context.Background()))
	}
}

// A directory of PATH that is too long is no other one.
func TestLongPath(t *testing.T) {
	d := newDriver(t)
	require.NoError(t, os.Symlink("busybox", d.rootfs+"/bin/not"))
	s := d.spec("nothing")
	long := "/bin/" + strings.Repeat("./", 2045) // cut off before "hing", it would be found
	s.Process.Env = []string{"PATH=" + long[:4095-len("/not")] + ":/" + strings.Repeat("x", 5000)}
	_, err := d.run(s)
	require.ErrorIs(t, err, exec.ErrNotFound)
	s = d.spec("true")
	s.Process.Env = []string{"PATH=/" + strings.Repeat("x", 5000) + ":" + strings.Repeat("y", 5000) + "::/bin"}
	_, err = d.run(s)
	require.NoError(t, err)
}
