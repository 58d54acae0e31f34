package container_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// What a Cmd does is what os/exec's does: each of these is done with a program
// of this host, in a container that runs, and in an instance of its own, and
// what comes of it must be the same.
func TestCmdLikeExec(t *testing.T) {
	t.Parallel()
	host, others := kits(t)
	for _, table := range []map[string]deed{runs, inputs, outputs, misuses, cancels, lookups, environs} {
		for name, do := range table {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				want := do(t, host)
				for kind, kit := range others {
					require.Equal(t, want, do(t, kit), kind)
				}
			})
		}
	}
	for name, do := range notFirst {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, do(t, host), do(t, others["container"]))
		})
	}
}

// notFirst is what the first process of a container is another thing for: the
// kernel ends all others with it, and spares it signals it has no handler for.
var notFirst = map[string]deed{
	"killed":  script("kill -KILL $$"),
	"crashed": script("kill -SEGV $$"),
	"what a process says that was left behind": script("(sleep 0.1; echo late) & echo early"),
	"a process left behind": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "sleep 5 & echo hello")
		*c.WaitDelay = 300 * time.Millisecond
		out, err := c.Output()
		return all{string(out), said(err)}
	},
	"a process left behind by one that fails": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "sleep 5 & exit 3")
		*c.WaitDelay = 300 * time.Millisecond
		out, err := c.Output()
		return all{string(out), said(err)}
	},
	"a process left behind, of which nothing is read": func(t *testing.T, k kit) any {
		return said(k.command(t.Context(), "sh", "-c", "sleep 5 & exit 0").Run())
	},
	"a process left behind, by one that is cancelled": func(t *testing.T, k kit) any {
		return cancelled(t, k, "sleep 5 & echo ready; exec sleep 1000", func(c *cmd) { *c.WaitDelay = 50 * time.Millisecond })
	},
	"a writer that fails": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "yes")
		*c.Stdout = &failing{after: 1000}
		return said(c.Run())
	},
	"a reader that goes away": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "yes")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		awaitLine(t, out, "y")
		require.NoError(t, out.Close())
		return said(c.Wait())
	},
	"by a signal that it has no handler for": func(t *testing.T, k kit) any {
		return cancelled(t, k, "echo ready; exec sleep 1000", terminate)
	},
}

// deed does something with commands, and tells what came of it.
type deed func(*testing.T, kit) any

// all is several results.
type all []any

// script runs a script to its end.
func script(text string) deed {
	return func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", text)
		var out, eout bytes.Buffer
		*c.Stdout, *c.Stderr = &out, &eout
		err := c.Run()
		return all{said(err), out.String(), eout.String()}
	}
}

var runs = map[string]deed{
	"true":             script("true"),
	"exit 1":           script("exit 1"),
	"exit 255":         script("exit 255"),
	"both outputs":     script("echo out; echo err >&2; echo -n no newline"),
	"nil input":        script("cat; echo end"),
	"nil input, wc":    script("wc -c"),
	"output then fail": script("echo hello; exit 7"),
	"reopened outputs": script("echo out >/dev/stdout; echo err >/dev/stderr"),
	"nil outputs": func(t *testing.T, k kit) any {
		return said(k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3").Run())
	},
	"arguments": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", `for a in "$@"; do echo "[$a]"; done`, "x", "", "a b", "*", "ü\n")
		out, err := c.Output()
		return all{string(out), said(err)}
	},
	"a signal": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "trap 'echo got it; exit 5' TERM; echo ready; while true; do sleep 0.01; done")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		awaitLine(t, out, "ready")
		require.NoError(t, c.process().Signal(syscall.SIGTERM))
		rest, err := io.ReadAll(out)
		require.NoError(t, err)
		err = c.Wait()
		return all{string(rest), said(err), said(c.process().Signal(syscall.SIGTERM)), said(c.process().Kill())}
	},
	"killed by the program": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sleep", "1000")
		require.NoError(t, c.Start())
		require.NoError(t, c.process().Kill())
		return said(c.Wait())
	},
}

var inputs = map[string]deed{
	"text": func(t *testing.T, k kit) any { return cat(t, k, strings.NewReader("one\ntwo")) },
	"none": func(t *testing.T, k kit) any { return cat(t, k, strings.NewReader("")) },
	"more than a pipe holds": func(t *testing.T, k kit) any {
		return cat(t, k, strings.NewReader(strings.Repeat("0123456789abcdef", 1<<18)))
	},
	"one byte at a time": func(t *testing.T, k kit) any {
		return cat(t, k, iotest.OneByteReader(strings.NewReader("one\ntwo")))
	},
	"broken": func(t *testing.T, k kit) any {
		return cat(t, k, io.MultiReader(strings.NewReader("so far"), iotest.ErrReader(errBroken)))
	},
	"broken, and the command fails": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "cat; exit 4")
		*c.Stdin = iotest.ErrReader(errBroken)
		return said(c.Run())
	},
	"not read": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		*c.Stdin = zeros{}
		return said(c.Run())
	},
	"a file": func(t *testing.T, k kit) any {
		f := tempFile(t, "skipped\nread\n")
		_, err := f.Seek(8, io.SeekStart)
		require.NoError(t, err)
		return cat(t, k, f)
	},
	"a file, closed after Start": func(t *testing.T, k kit) any {
		f := tempFile(t, "read\n")
		c := k.command(t.Context(), "cat")
		var out bytes.Buffer
		*c.Stdin, *c.Stdout = f, &out
		require.NoError(t, c.Start())
		require.NoError(t, f.Close())
		return all{said(c.Wait()), out.String()}
	},
	"a pipe that nobody writes to": func(t *testing.T, k kit) any {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		defer w.Close()
		c := k.command(t.Context(), "true")
		*c.Stdin = r
		return said(c.Run())
	},
	"StdinPipe": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "cat")
		in, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		for _, line := range []string{"one", "two"} {
			_, err = fmt.Fprintln(in, line)
			require.NoError(t, err)
			awaitLine(t, out, line)
		}
		require.NoError(t, in.Close())
		rest, err := io.ReadAll(out)
		return all{said(err), string(rest), said(c.Wait()), said(in.Close())}
	},
	"StdinPipe after the end": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "true")
		in, err := c.StdinPipe()
		require.NoError(t, err)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = io.ReadAll(out)
		require.NoError(t, err)
		for err == nil {
			_, err = in.Write([]byte("x")) // until the process has really let go of it
		}
		werr := c.Wait()
		_, after := in.Write([]byte("x"))
		return all{said(err), said(werr), said(after)}
	},
}

// cat has a reader copied to a writer.
func cat(t *testing.T, k kit, r io.Reader) any {
	c := k.command(t.Context(), "cat")
	*c.Stdin = r
	out, err := c.Output()
	return all{string(out), said(err)}
}

var outputs = map[string]deed{
	"order": func(t *testing.T, k kit) any {
		out, err := k.command(t.Context(), "sh", "-c", "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done").CombinedOutput()
		return all{string(out), said(err)}
	},
	"one writer for both": func(t *testing.T, k kit) any {
		var both bytes.Buffer
		c := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; echo out")
		*c.Stdout, *c.Stderr = &both, &both
		return all{said(c.Run()), both.String()}
	},
	"writers that can't be compared": func(t *testing.T, k kit) any {
		var out safe
		c := k.command(t.Context(), "sh", "-c", "echo hello; echo hello >&2")
		*c.Stdout = uncomparable{[]func([]byte) (int, error){out.Write}}
		*c.Stderr = *c.Stdout
		return all{said(c.Run()), out.String()}
	},
	"big": func(t *testing.T, k kit) any {
		out, err := k.command(t.Context(), "sh", "-c", "yes 0123456789abcde | head -c 4000000").Output()
		return all{said(err), len(out), string(out[len(out)-16:])}
	},
	"Output with stderr": func(t *testing.T, k kit) any {
		out, err := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3").Output()
		return all{string(out), said(err), stderrOf(err)}
	},
	"Output with much stderr": func(t *testing.T, k kit) any {
		_, err := k.command(t.Context(), "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; exit 3").Output()
		return all{said(err), stderrOf(err)}
	},
	"Output with just too much stderr": func(t *testing.T, k kit) any {
		var ends []string
		for _, n := range []string{"32768", "65536", "65537"} {
			_, err := k.command(t.Context(), "sh", "-c", "yes | head -c "+n+" >&2; exit 3").Output()
			ends = append(ends, stderrOf(err))
		}
		return ends
	},
	"Output and Stderr": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
		var eout bytes.Buffer
		*c.Stderr = &eout
		out, err := c.Output()
		return all{string(out), eout.String(), said(err), stderrOf(err)}
	},
	"CombinedOutput that fails": func(t *testing.T, k kit) any {
		out, err := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3").CombinedOutput()
		return all{string(out), said(err), stderrOf(err)}
	},
	"a file": func(t *testing.T, k kit) any {
		f := tempFile(t, "")
		_, err := f.WriteString("before\n")
		require.NoError(t, err)
		c := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2")
		*c.Stdout, *c.Stderr = f, f
		err = c.Run()
		_, werr := f.WriteString("after\n")
		b, rerr := os.ReadFile(f.Name())
		return all{said(err), said(werr), said(rerr), string(b)}
	},
	"a writer that fails at the end": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "echo", "hello")
		*c.Stdout = &failing{}
		return said(c.Run())
	},
	"pipes for both": func(t *testing.T, k kit) any {
		c := k.command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 6")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		eout, err := c.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		o, err := io.ReadAll(out)
		require.NoError(t, err)
		e, err := io.ReadAll(eout)
		require.NoError(t, err)
		werr := c.Wait()
		_, rerr := out.Read(make([]byte, 1))
		return all{string(o), string(e), said(werr), said(rerr)}
	},
	"one command's output is another's input": func(t *testing.T, k kit) any {
		a, b := k.command(t.Context(), "sh", "-c", "yes line | head -n 100000"), k.command(t.Context(), "wc", "-l")
		out, err := a.StdoutPipe()
		require.NoError(t, err)
		*b.Stdin = out.(*os.File)
		var n bytes.Buffer
		*b.Stdout = &n
		require.NoError(t, a.Start())
		require.NoError(t, b.Start())
		return all{said(a.Wait()), said(b.Wait()), strings.TrimSpace(n.String())}
	},
}

// awaitLine reads a line, and no byte more.
func awaitLine(t *testing.T, r io.Reader, line string) {
	t.Helper()
	b := make([]byte, len(line)+1)
	_, err := io.ReadFull(r, b)
	require.NoError(t, err)
	require.Equal(t, line+"\n", string(b))
}

func tempFile(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteString(text)
	require.NoError(t, err)
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	return f
}
