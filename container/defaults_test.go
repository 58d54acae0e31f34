package container_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// docs/security.md names the tests here, beside those of one wall each.

func init() {
	helpers["ulimits"] = func(ctx context.Context) error {
		cfg := sh(ulimits + " >&2; exec sleep 1000")
		cfg.Stderr = os.Stdout
		cfg.Ready = container.Log("4096", 1) // it has said all before it is closed
		c, err := helperRun(ctx, cfg)
		if err != nil {
			return err
		}
		cmd := c.Command(ctx, "sh", "-c", ulimits)
		cmd.Stdout = os.Stdout
		return errors.Join(cmd.Run(), c.Close(), helperEngine.Close())
	}
	helpers["euid"] = func(context.Context) error {
		fmt.Println(os.Geteuid())
		return nil
	}
}

const ulimits = "echo $(ulimit -Sc) $(ulimit -Hc) $(ulimit -Hn) $(ulimit -Ss)"

// The program's limits are its containers', and their commands'.
func TestUlimits(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("prlimit", "--core=1024:2048", "--nofile=4096:8192", "--stack=4194304", self)
	cmd.Env = append(os.Environ(), fixture.ProgramVar+"=ulimits", helperRoot+"="+root)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	const want = "2 4 8192 4096\n" // in blocks of 512 and 1024 bytes
	require.Equal(t, want+want, string(out))
}

// A container has the devices of a terminal, of chance and of nothing. It can
// make nodes of others, and not open them.
func TestDevices(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	require.Equal(t, "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n",
		stdout(t, img, sh("echo $(ls /dev | grep -v ^core)")))
	var root unix.Stat_t
	require.NoError(t, unix.Stat("/", &root))
	for _, node := range []string{
		fmt.Sprintf("b %d %d", unix.Major(root.Dev), unix.Minor(root.Dev)), // the host's disk
		"c 1 1", "c 1 2", "c 1 4", "c 1 11", // memory, ports and the kernel's log
		"c 10 229", "c 10 232", "b 7 0", // fuse, kvm, loop
	} {
		_, eout, err := output(t, img, sh("mknod /tmp/x "+node+" && exec cat /tmp/x"))
		require.Error(t, err, node)
		require.Contains(t, eout, "Operation not permitted", node)
	}
	require.Contains(t, stdout(t, img, sh("df -k /dev/shm")), " 65536 ", "as Docker's")
}

// What the kernel would do for any user, and what its capabilities don't forbid,
// the filter of system calls does.
func TestSystemCalls(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"unshare -U true", "dmesg", "unshare -m true", "swapoff -a /tmp/x", "pivot_root / /tmp", "chvt 1"} {
		_, eout, err := output(t, busybox(t), sh(command))
		require.Error(t, err, command)
		require.NotContains(t, eout, "not found", command)
	}
	cfg := sh("unshare -U true")
	cfg.Spec = func(s *specs.Spec) error {
		s.Linux.Seccomp = nil
		return nil
	}
	require.Empty(t, stdout(t, busybox(t), cfg), "it was the filter")
}

// A set-uid program gives a user nothing, whatever image it comes from.
func TestSetUID(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	for _, privileges := range []bool{false, true} {
		cfg := serverConfig(t, container.Config{})
		cfg.Args = []string{"sh", "-c", "cp /server /tmp/suid && chmod 4755 /tmp/suid && echo ready && exec sleep 1000"}
		cfg.Spec = func(s *specs.Spec) error {
			s.Process.NoNewPrivileges = !privileges
			return nil
		}
		c := start(t, busybox(t), cfg)
		cmd := c.Command(t.Context(), "/tmp/suid")
		cmd.User, cmd.Env = "app", []string{fixture.ProgramVar + "=euid"}
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, privileges, strings.TrimSpace(string(out)) == "0", "%s", out)
	}
}

// Nobody asked for limits of memory and processors, so there are none, but for
// one of processes. The log is bounded, the writable layer is not.
func TestUnlimited(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	var s *specs.Spec
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"true"}, Spec: func(spec *specs.Spec) error {
		s = spec
		return nil
	}})
	require.NoError(t, c.Wait(t.Context()))
	r := s.Linux.Resources
	require.Nil(t, r.Memory)
	require.Nil(t, r.CPU)
	require.EqualValues(t, 4096, *r.Pids.Limit)
	require.False(t, s.Root.Readonly)
}
