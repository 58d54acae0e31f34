// Package whole holds no code, only tests: of what no package can show alone.
// Programs are killed in the middle of their work, shims die, engines close while
// calls are under way, a containerd that runs is dialed, and nothing may be left.
package whole

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
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
