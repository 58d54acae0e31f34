package container_test

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var misuses = map[string]deed{
	"Start twice": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		return all{said(c.Start()), said(c.Start()), said(c.Wait())}
	},
	"Start after a failed one": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "nope")
		return all{said(c.Start()), said(c.Start()), said(c.Wait())}
	},
	"Wait before Start": func(t *testing.T, k kit) any { return said(k.command(t.Context(), "true").Wait()) },
	"Wait twice": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		return all{said(c.Start()), said(c.Wait()), said(c.Wait())}
	},
	"Run twice": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		return all{said(c.Run()), said(c.Run())}
	},
	"Output with Stdout set": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		*c.Stdout = io.Discard
		out, err := c.Output()
		return all{out, said(err), said(c.Run())}
	},
	"CombinedOutput with Stdout or Stderr set": func(t *testing.T, k kit) any {
		a, b := k.command(t.Context(), "true"), k.command(t.Context(), "true")
		*a.Stdout, *b.Stderr = io.Discard, io.Discard
		_, aerr := a.CombinedOutput()
		_, berr := b.CombinedOutput()
		return all{said(aerr), said(berr)}
	},
	"pipes twice": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		var results all
		for range 2 {
			_, in := c.StdinPipe()
			_, out := c.StdoutPipe()
			_, eout := c.StderrPipe()
			results = append(results, said(in), said(out), said(eout))
		}
		return append(results, said(c.Run()))
	},
	"pipes after Start": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		require.NoError(t, c.Start())
		_, in := c.StdinPipe()
		_, out := c.StdoutPipe()
		_, eout := c.StderrPipe()
		return all{said(in), said(out), said(eout), said(c.Wait())}
	},
	"pipes of a command that does not start": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "nope")
		in, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		serr := c.Start()
		_, werr := in.Write([]byte("x"))
		_, rerr := out.Read(make([]byte, 1))
		return all{said(serr), said(werr), said(rerr)}
	},
	"nil context": func(t *testing.T, k kit) any {
		require.PanicsWithValue(t, "nil Context", func() { k.command(nil, "true") }) //nolint:staticcheck // what is tested
		return nil
	},
	"no command": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		*c.Path = ""
		return said(c.Run())
	},
}

var cancels = map[string]deed{
	"before Start": func(t *testing.T, k kit) any {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return said(k.command(ctx, "true").Run())
	},
	"while it runs": func(t *testing.T, k kit) any {
		return cancelled(t, k, "echo ready; exec sleep 1000", func(*cmd) {})
	},
	"a deadline before Start": func(t *testing.T, k kit) any {
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		return said(k.command(ctx, "true").Run())
	},
	"after the end, before Wait": func(t *testing.T, k kit) any {
		ctx, cancel := context.WithCancel(t.Context())
		c := k.command(ctx, "sh", "-c", "exit 2")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = io.ReadAll(out)
		require.NoError(t, err)
		cancel()
		return said(c.Wait())
	},
	"by a signal, and it exits 0": func(t *testing.T, k kit) any {
		return cancelled(t, k, asked+"exit 0", terminate)
	},
	"by a signal, and it exits 3": func(t *testing.T, k kit) any {
		return cancelled(t, k, asked+"exit 3", terminate)
	},
	"by something that fails, and it exits 0": func(t *testing.T, k kit) any {
		return cancelled(t, k, asked+"exit 0", func(c *cmd) {
			*c.Cancel = func() error { return errors.Join(errBroken, c.process().Signal(syscall.SIGTERM)) }
		})
	},
	"by something that finds it done, and it exits 0": func(t *testing.T, k kit) any {
		return cancelled(t, k, asked+"exit 0", func(c *cmd) {
			*c.Cancel = func() error { return errors.Join(os.ErrProcessDone, c.process().Signal(syscall.SIGTERM)) }
		})
	},
	"by a closed pipe": func(t *testing.T, k kit) any {
		return cancelled(t, k, "echo ready; cat; exit 0", func(c *cmd) {
			in, err := c.StdinPipe()
			require.NoError(t, err)
			*c.Cancel = in.Close
		})
	},
	"by nothing": func(t *testing.T, k kit) any {
		return cancelled(t, k, "echo ready; sleep 0.2; exit 0", func(c *cmd) { *c.Cancel = nil })
	},
	"by nothing, with a delay": func(t *testing.T, k kit) any {
		return cancelled(t, k, "echo ready; exec sleep 1000", func(c *cmd) { *c.Cancel, *c.WaitDelay = nil, 50*time.Millisecond })
	},
	"by a signal that it ignores, with a delay": func(t *testing.T, k kit) any {
		return cancelled(t, k, "trap '' TERM; echo ready; exec sleep 1000", func(c *cmd) {
			terminate(c)
			*c.WaitDelay = 50 * time.Millisecond
		})
	},
	"a writer, with a delay that is not needed": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "echo", "hello")
		*c.WaitDelay = time.Hour
		out, err := c.Output()
		return all{string(out), said(err)}
	},
}

// asked ends a script when it is asked to.
const asked = `trap 'stop=yes' TERM; echo ready; while [ -z "$stop" ]; do sleep 0.01; done; `

func terminate(c *cmd) {
	*c.Cancel = func() error { return c.process().Signal(syscall.SIGTERM) }
}

// cancelled runs a script until it is ready, cancels it, and tells how it ended.
func cancelled(t *testing.T, k kit, text string, prepare func(*cmd)) any {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := k.command(ctx, "sh", "-c", text)
	prepare(c)
	r, w := io.Pipe()
	*c.Stdout = w
	require.NoError(t, c.Start())
	awaitLine(t, r, "ready")
	go func() { _, _ = io.Copy(io.Discard, r) }()
	cancel()
	err := c.Wait()
	r.Close()
	return said(err)
}
