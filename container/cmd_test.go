package container_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// idle is a container that does nothing, for commands to run in.
func idle(t testing.TB) *container.Container {
	return containertest.Run(t, busybox(t), container.Config{Args: []string{"sleep", "1000"}, StopTimeout: -1})
}

func TestCmd(t *testing.T) {
	t.Parallel()
	c := idle(t)
	cmd := c.Command(t.Context(), "sh", "-c", "cat; echo err >&2; exit 3")
	cmd.Stdin = strings.NewReader("in\n")
	out, err := cmd.CombinedOutput()
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, container.ExitError{ID: c.ID(), Path: "sh", Code: 3}, *exit)
	require.Equal(t, "in\nerr\n", string(out))
	require.Equal(t, 3, cmd.ProcessState.ExitCode())

	_, err = c.Command(t.Context(), "nope").Output()
	require.ErrorIs(t, err, exec.ErrNotFound)
}

// The program's own terminal is let go of when the command ends, and nothing of
// what is typed after is taken.
func TestCmdStdinFile(t *testing.T) {
	t.Parallel()
	c := idle(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	for _, block := range []bool{false, true} {
		if block {
			r.Fd() // which makes it blocking
		}
		cmd := c.Command(t.Context(), "head", "-n1")
		cmd.Stdin = r
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = w.WriteString("line\n")
		require.NoError(t, err)
		b, err := io.ReadAll(out)
		require.NoError(t, err)
		require.Equal(t, "line\n", string(b))
		require.NoError(t, cmd.Wait())

		_, err = w.WriteString("more\n")
		require.NoError(t, err)
		b = make([]byte, 5)
		_, err = io.ReadFull(r, b)
		require.NoError(t, err)
		require.Equal(t, "more\n", string(b))
	}
}

func TestCmdTTY(t *testing.T) {
	t.Parallel()
	cmd := idle(t).Command(t.Context(), "sh", "-c", "tty; id -un; cat; echo err >&2")
	cmd.TTY, cmd.User = true, "app"
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "/dev/pts/0\r\napp\r\nerr\r\n", string(out))
}

func TestCmdClosed(t *testing.T) {
	t.Parallel()
	c := idle(t)
	cmd := c.Command(t.Context(), "sleep", "1000")
	require.NoError(t, cmd.Start())
	require.NoError(t, c.Close())
	err := cmd.Wait()
	require.ErrorContains(t, err, "the container was closed")
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 137, exit.Code)
	require.ErrorIs(t, c.Command(t.Context(), "true").Run(), ctor.ErrNotFound)
}
