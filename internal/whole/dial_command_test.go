package whole

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

// commands through another's runtime: its shim keeps both ends of each pipe,
// and is told of the end of the input.
func (d *dialed) commands(t *testing.T) {
	c, err := d.img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	defer c.Close()
	for name, command := range map[string]func(context.Context, string, ...string) *container.Cmd{
		"container": c.Command, "image": d.img.Command,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t.Context(), "sh", "-c", "cat; echo err >&2; exit 3")
			cmd.Stdin = strings.NewReader(strings.Repeat("0123456789abcde\n", 10000))
			out, err := cmd.Output()
			var exit *container.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 3, exit.Code)
			require.Equal(t, "err\n", string(exit.Stderr))
			require.Len(t, out, 160000)

			out, err = command(t.Context(), "sh", "-c", "cat; echo out; echo err >&2").CombinedOutput()
			require.NoError(t, err)
			require.ElementsMatch(t, []string{"out", "err"}, strings.Fields(string(out)))

			cmd = command(t.Context(), "cat")
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			var got bytes.Buffer
			cmd.Stdout = &got
			require.NoError(t, cmd.Start())
			_, err = io.WriteString(in, "hello")
			require.NoError(t, err)
			require.NoError(t, in.Close())
			require.NoError(t, cmd.Wait())
			require.Equal(t, "hello", got.String())

			_, err = command(t.Context(), "nope").Output()
			require.ErrorIs(t, err, exec.ErrNotFound)

			cmd = command(t.Context(), "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
			cmd.Stdout = brokenWriter{}
			require.ErrorIs(t, cmd.Run(), io.ErrShortWrite)

			ctx, cancel := context.WithCancel(t.Context())
			cmd = command(ctx, "sleep", "1000")
			require.NoError(t, cmd.Start())
			cancel()
			require.ErrorAs(t, cmd.Wait(), &exit)
			require.Equal(t, 137, exit.Code)
			require.ErrorIs(t, cmd.Process.Kill(), os.ErrProcessDone)

			cmd = command(t.Context(), "sh", "-c", "stty size; tty")
			cmd.TTY = true
			require.NoError(t, cmd.Resize(100, 50))
			out, err = cmd.Output()
			require.NoError(t, err)
			require.Contains(t, string(out), "/dev/pts/0\r\n")
		})
	}
	cmd := c.Command(t.Context(), "sh", "-c", "sleep 1000 & echo hello")
	cmd.WaitDelay = 300 * time.Millisecond
	out, err := cmd.Output()
	require.ErrorIs(t, err, exec.ErrWaitDelay)
	require.Equal(t, "hello\n", string(out))
	require.NoError(t, c.Pause(t.Context()))
	require.ErrorIs(t, c.Command(t.Context(), "true").Run(), ctor.ErrInvalid)
	require.NoError(t, c.Resume(t.Context()))

	cmd = c.Command(t.Context(), "sleep", "1000")
	require.NoError(t, cmd.Start())
	require.NoError(t, c.Close())
	require.ErrorContains(t, cmd.Wait(), "the container was closed")
	d.same(t)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
