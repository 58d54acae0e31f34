package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/pidfd"
)

// The test binary is ctor-userns, where it is called that.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ctor-userns" {
		main()
	}
	os.Exit(m.Run())
}

// program puts ctor-userns where an ordinary user can execute it.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(filepath.Dir(fixture.Copied(t, self)), "ctor-userns")
	require.NoError(t, os.Link(filepath.Join(filepath.Dir(path), filepath.Base(self)), path))
	return path
}

func TestMappings(t *testing.T) {
	const script = `id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status; mount -t tmpfs x /mnt && echo mounted`
	for flag, want := range map[string]string{
		"":        "0\n0 61001 1\n1 6000000 65536\n",
		"-single": "0\n0 61001 1\n",
	} {
		args := []string{program(t), "sh", "-c", script}
		if flag != "" {
			args = append([]string{args[0], flag}, args[1:]...)
		}
		out, err := fixture.AsUser(t, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		var lines []string
		for line := range strings.Lines(string(out)) {
			lines = append(lines, strings.Join(strings.Fields(line), " ")+"\n")
		}
		said := strings.Join(lines, "")
		require.True(t, strings.HasPrefix(said, want+"CapEff:"), said)
		require.True(t, strings.HasSuffix(said, "mounted\n"), said)
		require.NotContains(t, said, "CapEff: 0000000000000000")
	}
}

// A user for whom nothing is set aside is told so, and is alone.
func TestAlone(t *testing.T) {
	cmd := fixture.AsUser(t, program(t), "id", "-u")
	cmd.Args[6] = ":>$0/subuid; " + cmd.Args[6] // of what AsUser prepares
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "root is the only user: no users or groups are set aside for user 61001")
	require.True(t, strings.HasSuffix(string(out), "\n0\n"), "%s", out)
}

func TestExitCodes(t *testing.T) {
	self := program(t)
	for script, want := range map[string]int{"exit 7": 7, "kill -TERM $$": 128 + 15, "true": 0} {
		err := fixture.AsUser(t, self, "-single", "sh", "-c", script).Run()
		code := 0
		if err != nil {
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			code = exit.ExitCode()
		}
		require.Equal(t, want, code, script)
	}
	var exit *exec.ExitError
	require.ErrorAs(t, fixture.AsUser(t, self, "-single", "/no/such").Run(), &exit)
	require.Equal(t, failed, exit.ExitCode())
	require.ErrorAs(t, fixture.AsUser(t, self, "-single", "no-such-command").Run(), &exit)
	require.Equal(t, notFound, exit.ExitCode())
}

// The command gets signals, and ends with ctor-userns, also when that is killed.
func TestEnds(t *testing.T) {
	self := program(t)
	for _, kill := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
		cmd := fixture.AsUser(t, self, "-single", "sh", "-c", "echo $$; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		s := bufio.NewScanner(out)
		require.True(t, s.Scan())
		var pid int
		_, err = fmt.Sscan(s.Text(), &pid)
		require.NoError(t, err)
		fd, err := unix.PidfdOpen(pid, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		require.NoError(t, cmd.Process.Signal(kill))
		require.Error(t, cmd.Wait())
		require.NoError(t, pidfd.Await(fd, time.Now().Add(10*time.Second)))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n, "it lives")
	}
}
