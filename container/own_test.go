package container_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func init() {
	helpers["ping"] = func(context.Context) error { return ping() }
	helpers["once"] = once
}

// ping is that of a user without any capability.
func ping() error {
	p, err := icmp.ListenPacket("udp4", "127.0.0.1")
	if err != nil {
		return err
	}
	defer p.Close()
	echo, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Data: []byte("echo")}}).Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := p.WriteTo(echo, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return err
	}
	answer := make([]byte, 100)
	n, _, err := p.ReadFrom(answer)
	fmt.Printf("%s\n", answer[8:n])
	return err
}

// In a network of its own any user has any port, and may ping.
func TestOwnNetwork(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	cfg := serverConfig(t, container.Config{User: "app"})
	cfg.Args = []string{"sh", "-c", "timeout 1 nc -l -p 80; " + fixture.ProgramVar + "=ping /server"}
	out, eout, err := output(t, busybox(t), cfg)
	require.NoError(t, err)
	require.Equal(t, "echo\n", out)
	require.Equal(t, "Terminated\n", eout, "it has listened until then")
}

// The host's network, and another container's, are left as they are.
func TestForeignNetwork(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	const script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
	host := read(t, "/proc/sys/net/ipv4/ip_unprivileged_port_start")
	require.NotEqual(t, "0", host)
	cfg := sh(script)
	cfg.Spec = func(s *specs.Spec) error {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		return nil
	}
	require.Equal(t, host+"\n", stdout(t, busybox(t), cfg))
	cfg.Spec = func(s *specs.Spec) error {
		for i, n := range s.Linux.Namespaces {
			if n.Type == specs.NetworkNamespace {
				s.Linux.Namespaces[i].Path = "/proc/self/ns/net"
			}
		}
		return nil
	}
	require.Equal(t, host+"\n", stdout(t, busybox(t), cfg))
}

// A container sees its own limits where language runtimes look for them, and
// can change nothing there.
func TestCgroupMount(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	memory, pids, procs := "memory/memory.limit_in_bytes", "pids/pids.max", "pids/cgroup.procs"
	if err == nil { // version 2
		memory, pids, procs = "memory.max", "pids.max", "cgroup.procs"
	}
	cfg := sh("cd /sys/fs/cgroup && cat " + memory + " " + pids + ` && head -n1 ` + procs + `
		for f in ` + pids + ` x; do if (echo 1 >$f) 2>/dev/null; then echo $f written; fi; done
		for d in x ` + strings.TrimSuffix(pids, "pids.max") + `x; do if mkdir $d 2>/dev/null; then echo $d made; fi; done
		mount -o remount,rw . 2>/dev/null && echo remounted
		grep " /sys/fs/cgroup" /proc/self/mountinfo | grep -v " ro,nosuid,nodev,noexec"; true`)
	cfg.Limits = container.Limits{Memory: 64 << 20, Pids: 50}
	require.Equal(t, "67108864\n50\n1\n", stdout(t, busybox(t), cfg))
}

// A root that may not hand on what containers get says so.
func TestBounded(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("no setpriv: apt-get install util-linux")
	}
	root, _ := prepared(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("setpriv", "--bounding-set=-mknod", self)
	cmd.Env = append(os.Environ(), fixture.ProgramVar+"=once", helperRoot+"="+root)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "can't give a container CAP_MKNOD, which it may not have itself (unavailable): if this is a container, start it with --privileged")
	cmd = exec.Command("setpriv", "--bounding-set=-syslog", self)
	cmd.Env = append(os.Environ(), fixture.ProgramVar+"=once", helperRoot+"="+root)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "no container gets it: %s", out)
}

// once runs a container.
func once(ctx context.Context) error {
	c, err := helperRun(ctx, container.Config{Args: []string{"true"}})
	if err == nil {
		err = c.Close()
	}
	return errors.Join(err, helperEngine.Close())
}
