package ctor_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// helperVar makes the test binary another program: one of helpers.
const helperVar = "CTOR_TEST_HELPER"

var helpers = map[string]func(args []string) error{
	"open":    helpOpen,
	"hold":    helpHold,
	"work":    helpWork,
	"churn":   helpChurn,
	"quiet":   helpQuiet,
	"dialed":  helpDialed,
	"dirty":   helpDirty,
	"lacking": helpLacking,
	"scarce":  helpScarce,
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperVar)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := helpers[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper is another program of ours, not started yet.
func helper(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperVar+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// running is a helper that has said that it is ready.
type running struct {
	*exec.Cmd
	stdin io.Closer
}

// startHelper starts a helper and waits for its first line of output.
func startHelper(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return &running{cmd, stdin}
}

// end lets the helper go on to its end.
func (r *running) end(t *testing.T) {
	t.Helper()
	require.NoError(t, r.stdin.Close())
	require.NoError(t, r.Wait())
}

// kill kills it, and returns when it is dead.
func (r *running) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, r.Process.Kill())
	_ = r.Wait()
}

// ready tells the parent to go on, and waits for it to close our input.
func ready() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// helpOpen opens a root and says how that went.
func helpOpen(args []string) error {
	e, err := ctor.Open(context.Background(), ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	return e.Close()
}

// helpHold opens a root, runs a container in it, and holds it.
func helpHold(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	if len(args) > 1 {
		img, err := image.Get(ctx, e, args[1])
		if err != nil {
			return err
		}
		for _, name := range args[2:] {
			cfg := container.Config{Name: name, Args: []string{"sleep", "1000"}, Detach: strings.HasPrefix(name, "detached")}
			if _, err := img.Run(ctx, cfg); err != nil {
				return err
			}
		}
	}
	ready()
	return e.Close()
}

// open opens an engine and closes it when the test ends.
func open(t testing.TB, cfg ctor.Config) *ctor.Engine {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	e, err := ctor.Open(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// echo runs a container that says something, and gives what it said.
func echo(t testing.TB, e *ctor.Engine, name, text string) string {
	t.Helper()
	var out strings.Builder
	c, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Name: name, Args: []string{"echo", text}, Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Close())
	return out.String()
}

// ours gives the processes that have a file of root open for output: shims.
func ours(root string) (found []string) {
	outs, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, out := range outs {
		if to, err := os.Readlink(out); err == nil && strings.HasPrefix(to, root+"/") {
			found = append(found, filepath.Dir(filepath.Dir(out)))
		}
	}
	return found
}

// lockedBuffer is written to by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
