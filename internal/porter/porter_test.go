package porter

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/netns"
)

// boxed starts a process in a network of its own, and gives its pidfd.
func boxed(t *testing.T) (*os.File, *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	require.NoError(t, cmd.Start())
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0) // cmd's own would not wait any more, once this one is not to block
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "pidfd")
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); f.Close() })
	return f, cmd
}

// porters gives the porters of a container, also those that wait to be reaped.
func porters(t *testing.T, container string) (found []string) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range all {
		if b, err := os.ReadFile(file); err == nil && string(b) == strings.Join([]string{name, "ctor-role-" + role, container, ""}, "\x00") {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// A porter keeps to its policy, and ends with the process that it is for.
func TestPorter(t *testing.T) {
	first, cmd := boxed(t)
	_, err := netns.Dial(t.Context(), first, "tcp", "192.0.2.7:80")
	require.ErrorIs(t, err, unix.ENETUNREACH)
	policy, err := egress.Marshal(egress.Allow("x.test"))
	require.NoError(t, err)
	dir := t.TempDir()
	err = Start(t.Context(), first, "c-porter", policy, dir)
	if errors.Is(err, errdefs.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	_, err = netns.Dial(t.Context(), first, "tcp", "192.0.2.7:80")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	all := porters(t, "c-porter")
	require.Len(t, all, 1)
	cwd, err := os.Readlink(all[0] + "/cwd")
	require.NoError(t, err)
	require.Equal(t, dir, cwd)
	files, err := os.ReadDir(all[0] + "/fd")
	require.NoError(t, err)
	for _, f := range files { // of the program's it has none
		to, err := os.Readlink(all[0] + "/fd/" + f.Name())
		require.NoError(t, err)
		require.Regexp(t, `^(/dev/null|anon_inode:.*|socket:.*|/proc/\d+/.*|cgroup.*|/sys/fs/cgroup/.*)$`, to)
	}
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return len(porters(t, "c-porter")) == 0 }, 30*time.Second, 5*time.Millisecond)
}

// What can't be made leaves no process.
func TestPorterFails(t *testing.T) {
	first, cmd := boxed(t)
	for _, policy := range []string{"", "{}", `{"allow":["a b"]}`} {
		require.Error(t, Start(t.Context(), first, "c-bad", []byte(policy), t.TempDir()))
	}
	require.NoError(t, cmd.Process.Kill())
	require.ErrorContains(t, cmd.Wait(), "killed")
	require.Error(t, Start(t.Context(), first, "c-bad", []byte(`{"public":true}`), t.TempDir()), "it has ended")
	require.Eventually(t, func() bool { return len(porters(t, "c-bad")) == 0 }, 30*time.Second, 5*time.Millisecond)
}

// A program that goes on without its engine has nothing that waits.
func TestPorterLife(t *testing.T) {
	first, _ := boxed(t)
	life, end := context.WithCancel(t.Context())
	err := Start(life, first, "c-life", []byte(`{"public":true}`), t.TempDir())
	if errors.Is(err, errdefs.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	end()
	require.Len(t, porters(t, "c-life"), 1, "it goes on")
}
