package container_test

import (
	"fmt"
	"github.com/ctorhq/ctor/internal/fixture"
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
	fixture.NeedsUsers(t)
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

// The input of a terminal ends as it does under a person's hands.
func TestCmdTTYInput(t *testing.T) {
	t.Parallel()
	c := idle(t)
	for _, text := range []string{"", "one\n", "one\ntwo", strings.Repeat("0123456789abcde\n", 1000)} {
		cmd := c.Command(t.Context(), "sh", "-c", "stty -echo; echo ready; cat | wc -c; exit 4")
		cmd.TTY = true
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		awaitLine(t, out, "ready\r")
		_, err = io.WriteString(in, text)
		require.NoError(t, err)
		require.NoError(t, in.Close())
		rest, err := io.ReadAll(out)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintln(len(text)), strings.ReplaceAll(string(rest), "\r", ""))
		var exit *container.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, 4, exit.Code)
	}
}

func TestCmdResize(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	c := idle(t)
	for name, cmd := range map[string]*container.Cmd{
		"container": c.Command(t.Context(), "sh", "-c", resized),
		"image":     img.Command(t.Context(), "sh", "-c", resized),
	} {
		require.ErrorIs(t, cmd.Resize(80, 25), ctor.ErrInvalid, "no terminal")
		cmd.TTY = true
		require.NoError(t, cmd.Resize(132, 43))
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		awaitLine(t, out, "43 132\r")
		require.NoError(t, cmd.Resize(100, 50), name)
		awaitLine(t, out, "yes\r")
		_, err = io.WriteString(in, "\n")
		require.NoError(t, err)
		_, err = io.ReadAll(out)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
		require.ErrorIs(t, cmd.Resize(80, 25), os.ErrProcessDone)
	}
	t.Run("container itself", func(t *testing.T) {
		cfg := sh(resized)
		r, w := io.Pipe()
		in, feed := io.Pipe()
		cfg.TTY, cfg.Stdout, cfg.Stdin = true, w, in
		tty, err := img.New(t.Context(), cfg)
		require.NoError(t, err)
		defer tty.Close()
		require.NoError(t, tty.Resize(t.Context(), 20, 10), "before it is started")
		require.NoError(t, tty.Start(t.Context()))
		awaitLine(t, r, "10 20\r")
		require.NoError(t, tty.Resize(t.Context(), 100, 50))
		awaitLine(t, r, "yes\r")
		go func() { _, _ = io.Copy(io.Discard, r) }()
		_, err = io.WriteString(feed, "\n")
		require.NoError(t, err)
		require.NoError(t, tty.Wait(t.Context()))
		require.ErrorIs(t, tty.Resize(t.Context(), 1, 1), ctor.ErrInvalid)
		require.ErrorIs(t, c.Resize(t.Context(), 1, 1), ctor.ErrInvalid, "no terminal")
	})
}

// resized tells the size of its terminal, at first and when it changes.
const resized = `trap 'told=yes' WINCH; stty size; until [ "$(stty size)" = "50 100" ]; do sleep 0.01; done; echo $told; read x`
