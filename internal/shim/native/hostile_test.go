package native_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// The classes of what has led out of containers with other runtimes, each with the
// number of one of them, and what it comes to here.

// CVE-2019-5736: a container's process opens the runtime by /proc/PID/exe and writes
// to it. CVE-2016-9962 and CVE-2024-21626: it finds a descriptor of the host's.
func TestNothingOfTheHost(t *testing.T) {
	d := newDriver(t)
	c, p, err := d.create(d.spec("true"), task.Stdio{})
	require.NoError(t, err)
	exe := fmt.Sprintf("/proc/%d/exe", p.Pid)
	to, err := os.Readlink(exe)
	require.NoError(t, err)
	require.Equal(t, "/memfd:ctor-forker (deleted)", to)
	for _, flag := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
		f, err := os.OpenFile(exe, flag, 0)
		if err == nil { // busy no more
			_, err = f.WriteAt([]byte{1}, 0)
			f.Close()
		}
		require.Error(t, err)
	}
	f, err := os.Open(exe)
	require.NoError(t, err)
	have, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	require.Equal(t, seals, have&seals)

	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid))
	require.NoError(t, err)
	var names []string
	for _, fd := range fds {
		names = append(names, fd.Name())
	}
	require.Equal(t, []string{"0", "1", "2", "3"}, names, "the streams, and the conversation")
	to, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/3", p.Pid))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(to, "socket:"), to)
	to, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.Pid))
	require.NoError(t, err)
	require.Equal(t, "/", to)

	require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
	reap(t, p.Pid)
	require.NoError(t, c.Delete(context.Background()))
	for n := range 20 { // one is the container's own root
		s := d.spec("sh", "-c", "cd ../../..; ls")
		s.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", n)
		if out, err := d.run(s); err == nil {
			require.Equal(t, "bin\ndev\netc\nproc\nrun\nsys\ntmp\n", out)
		}
	}
}

// CVE-2025-31133: an image has something else in the place of /dev/null, and that is
// what masked paths show. CVE-2025-52565: likewise the terminal and /dev/console.
func TestFalseDevices(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("the host's"), 0o644))
	for name, put := range map[string]func(string) error{
		"a file":         func(at string) error { return os.WriteFile(at, []byte("x"), 0o666) },
		"a link":         func(at string) error { return os.Symlink("../proc/sys/kernel/core_pattern", at) },
		"a link out":     func(at string) error { return os.Symlink(secret, at) },
		"a directory":    func(at string) error { return os.Mkdir(at, 0o755) },
		"another device": func(at string) error { return unix.Mknod(at, unix.S_IFCHR|0o666, 1<<8|5) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			require.NoError(t, os.Mkdir(d.rootfs+"/dev", 0o755))
			require.NoError(t, put(d.rootfs+"/dev/null"))
			s := d.spec("cat", "/proc/kcore", "/proc/timer_list")
			without(s, "/dev")
			_, err := d.run(s)
			require.ErrorContains(t, err, "dev/null")

			require.NoError(t, os.RemoveAll(d.rootfs+"/dev/null"))
			require.NoError(t, put(d.rootfs+"/dev/console"))
			require.NoError(t, os.Mkdir(d.rootfs+"/dev/pts", 0o755))
			require.NoError(t, put(d.rootfs+"/dev/pts/ptmx"))
			s = d.spec("true")
			without(s, "/dev")
			_, _, err = d.create(s, task.Stdio{Terminal: true})
			require.Error(t, err)
		})
	}
	b, err := os.ReadFile(secret)
	require.NoError(t, err)
	require.Equal(t, "the host's", string(b))
}

// A container that has put another thing in the place of its terminals' device gets
// no terminal of that.
func TestFalseTerminal(t *testing.T) {
	d := newDriver(t)
	s := d.spec("sh", "-c", "umount /dev/pts; echo x >/dev/pts/ptmx; echo x >/dev/null.new; mv /dev/null.new /dev/null; sleep 1000")
	s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_ADMIN")
	s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = s.Process.Capabilities.Bounding, s.Process.Capabilities.Bounding
	s.Linux.Seccomp = nil
	c, p := d.running(s)
	require.Eventually(t, func() bool {
		st, err := os.Stat(fmt.Sprintf("/proc/%d/root/dev/null", p.Pid))
		return err == nil && st.Mode().IsRegular()
	}, patience, tick)
	_, err := c.Exec(t.Context(), "e", d.spec("true").Process, task.Stdio{Terminal: true})
	require.ErrorContains(t, err, "another thing")
	// A stream that the caller does not give is not that file either.
	out, err := d.command(c, d.spec("sh", "-c", "stat -L -c %t:%T /proc/self/fd/0").Process)
	require.NoError(t, err)
	require.Equal(t, "1:3\n", out)
}

// CVE-2025-52881: what is meant for a file of procfs is written to another one.
func TestSettingsStayInside(t *testing.T) {
	d := newDriver(t)
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	score := 100
	for name, edit := range map[string]func(*specs.Spec){
		"a link to another": func(s *specs.Spec) {
			require.NoError(t, os.Symlink("/tmp", d.rootfs+"/proc"))
		},
		"a mount on it": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp/../proc/sys/net", Type: "bind", Source: "/proc/sys/kernel", Options: []string{"bind"}})
		},
	} {
		require.NoError(t, os.RemoveAll(d.rootfs+"/proc"))
		s := d.spec("true")
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		s.Process.OOMScoreAdj = &score
		edit(s)
		e := handed{}
		_, _, err := nativeOver(t, &e).Create(t.Context(), task.Bundle{ID: "x", Dir: d.dir, Rootfs: d.rootfs, Spec: s}, task.Stdio{})
		require.Error(t, err, name)
	}
	require.NoError(t, os.RemoveAll(d.rootfs+"/proc"))
	now, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	require.Equal(t, pattern, now)
}

// Settings of the host's are none of a container's.
func TestSettingsOfTheHost(t *testing.T) {
	d := newDriver(t)
	for _, name := range []string{
		"kernel.core_pattern", "vm.overcommit_memory", "kernel/core_pattern", "net.../kernel.core_pattern",
		"net/../kernel/core_pattern", "net//ipv4/x/../../../kernel/core_pattern", "fs.mqueue./../../kernel.core_pattern", "kernel.hostname", "user.max_user_namespaces", "",
	} {
		s := d.spec("true")
		s.Linux.Sysctl = map[string]string{name: "x"}
		e := handed{}
		_, _, err := nativeOver(t, &e).Create(t.Context(), task.Bundle{ID: "x", Dir: d.dir, Rootfs: d.rootfs, Spec: s}, task.Stdio{})
		require.ErrorIs(t, err, errHanded, name)
	}
	for what, edit := range map[string]func(*specs.Spec){
		"the host's name": func(s *specs.Spec) { s.Hostname = "x"; drop(s, specs.UTSNamespace) },
		"its domain":      func(s *specs.Spec) { s.Hostname, s.Domainname = "", "x"; drop(s, specs.UTSNamespace) },
		"its network": func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
			drop(s, specs.NetworkNamespace)
		},
		"its IPC": func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"kernel.msgmax": "1"}
			drop(s, specs.IPCNamespace)
		},
		"its mounts": func(s *specs.Spec) { drop(s, specs.MountNamespace) },
		"a label":    func(s *specs.Spec) { s.Process.SelinuxLabel = "x" },
	} {
		s := d.spec("true")
		edit(s)
		e := handed{}
		_, _, err := nativeOver(t, &e).Create(t.Context(), task.Bundle{ID: "x", Dir: d.dir, Rootfs: d.rootfs, Spec: s}, task.Stdio{})
		require.ErrorIs(t, err, errHanded, what)
	}
}

func drop(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, n := range s.Linux.Namespaces {
		if n.Type != kind {
			kept = append(kept, n)
		}
	}
	s.Linux.Namespaces = kept
}

// Links of an image lead mounts nowhere but into the container, also where they
// dangle: what is missing is made where they lead.
func TestLinks(t *testing.T) {
	up := strings.Repeat("../", 20)
	for name, link := range map[string]string{
		"absolute": "VICTIM/new", "up": up + "VICTIM/new", "to a file": up + "VICTIM/file", "dangling": "/nowhere/at/all",
		"dangling up": "../../nowhere/../else", "to a descriptor": "/proc/self/fd/0", "to a root": "/proc/self/root/VICTIM/new",
		"to a directory's": "/proc/1/cwd/x", "to itself": "hosts", "to the top": "/", "to dots": "../..",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			victim := filepath.Join(d.dir, "victim")
			require.NoError(t, os.Mkdir(victim, 0o755))
			require.NoError(t, os.WriteFile(victim+"/file", []byte("host"), 0o644))
			own := filepath.Join(d.dir, "own")
			require.NoError(t, os.WriteFile(own, []byte("mounted"), 0o644))
			require.NoError(t, os.Symlink(strings.ReplaceAll(link, "VICTIM", victim), d.rootfs+"/etc/hosts"))
			s := d.spec("cat", "/etc/hosts")
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: own, Options: []string{"bind"}})
			out, err := d.run(s)
			if err == nil && name != "dangling up" { // a runtime goes by names, and the kernel does not
				require.Equal(t, "mounted", out)
			}
			if strings.HasPrefix(name, "dangling") || name == "absolute" || name == "up" {
				require.NoError(t, err, "as other runtimes have it")
			}
			all, err := os.ReadDir(victim)
			require.NoError(t, err)
			require.Len(t, all, 1)
			b, err := os.ReadFile(victim + "/file")
			require.NoError(t, err)
			require.Equal(t, "host", string(b))
		})
	}
}

// CVE-2021-30465: what a mount goes on is exchanged for a link while it is made.
func TestRacingLinks(t *testing.T) {
	d := newDriver(t)
	victim := filepath.Join(d.dir, "victim")
	volume := filepath.Join(d.dir, "volume")
	for _, dir := range []string{victim, volume, volume + "/a"} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	require.NoError(t, os.Symlink(strings.Repeat("../", 20)+victim, volume+"/b"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, volume+"/a", unix.AT_FDCWD, volume+"/b", unix.RENAME_EXCHANGE)
			}
		}
	})
	for range 100 {
		s := d.spec("true")
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/volume", Type: "bind", Source: volume, Options: []string{"bind"}},
			specs.Mount{Destination: "/volume/a/made/by/us", Type: "tmpfs", Source: "tmpfs"},
			specs.Mount{Destination: "/volume/a", Type: "bind", Source: "/usr", Options: []string{"bind"}})
		_, _ = d.run(s)
		all, err := os.ReadDir(victim)
		require.NoError(t, err)
		require.Empty(t, all)
	}
	close(stop)
	wg.Wait()
}
