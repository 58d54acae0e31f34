package containertest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// fake is a test that its owner ends, and that may fail.
type fake struct {
	testing.TB
	failed   bool
	log      strings.Builder
	cleanup  []func()
	deadline time.Time
}

func (f *fake) Helper()                   {}
func (f *fake) Failed() bool              { return f.failed }
func (f *fake) Cleanup(c func())          { f.cleanup = append(f.cleanup, c) }
func (f *fake) Logf(s string, a ...any)   { fmt.Fprintf(&f.log, s, a...) }
func (f *fake) Errorf(s string, a ...any) { f.failed = true; f.Logf(s, a...) }
func (f *fake) Fatalf(s string, a ...any) { f.Errorf(s, a...); panic(f) }

func (f *fake) Deadline() (time.Time, bool) { return f.deadline, !f.deadline.IsZero() }

func (f *fake) end() {
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
}

// One engine for all, from the first test to Close.
func TestEngine(t *testing.T) {
	f := &fake{TB: t}
	e := containertest.Engine(f)
	f.end()
	require.Same(t, e, containertest.Engine(t))
	require.Equal(t, filepath.Clean(os.TempDir()), filepath.Dir(e.Root()))
	require.NoError(t, containertest.Close())
	require.NoDirExists(t, e.Root())
	_, err := container.List(t.Context(), e)
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.NoError(t, containertest.Close())
	require.NotSame(t, e, containertest.Engine(t))
}

func TestRun(t *testing.T) {
	img := fixture.Busybox(t, containertest.Engine(t))
	for _, failed := range []bool{false, true} {
		f := &fake{TB: t, failed: failed}
		c := containertest.Run(f, img, container.Config{Args: []string{"sh", "-c", "yes | head -n 100000; echo the end"}})
		require.NoError(t, c.Wait(t.Context()))
		f.end()
		_, err := c.Info(t.Context())
		require.ErrorIs(t, err, ctor.ErrNotFound)
		if !failed {
			require.Empty(t, f.log.String())
			continue
		}
		require.True(t, strings.HasSuffix(f.log.String(), "y\nthe end\n"))
		require.Less(t, f.log.Len(), 66<<10)
	}
}

// A container gets less time to become ready than its test has, and what went
// wrong fails the test.
func TestRunReady(t *testing.T) {
	img := fixture.Busybox(t, containertest.Engine(t))
	f := &fake{TB: t, deadline: time.Now().Add(time.Hour)}
	var until time.Time
	containertest.Run(f, img, container.Config{Ready: func(ctx context.Context, _ *container.Container) error {
		until, _ = ctx.Deadline()
		return nil
	}})
	f.end()
	require.False(t, f.failed)
	require.WithinRange(t, until, f.deadline.Add(-10*time.Second), f.deadline.Add(-time.Second))

	require.PanicsWithValue(t, f, func() {
		containertest.Run(f, img, container.Config{
			Args:  []string{"sh", "-c", "echo no config; exit 3"},
			Ready: container.Log("ready", 1),
		})
	})
	require.Contains(t, f.log.String(), "exit code 3")
	require.Contains(t, f.log.String(), "no config")
}

const innerEnv = "CTOR_TEST_INNER"

// TestInner is what TestNothingIsLeft runs in a test binary of its own.
func TestInner(t *testing.T) {
	end := os.Getenv(innerEnv)
	if end == "" {
		t.Skip("it is run by TestNothingIsLeft")
	}
	img := fixture.Busybox(t, containertest.Engine(t))
	for _, detach := range []bool{false, true} {
		cfg := container.Config{Args: []string{"sleep", "1000"}, Detach: detach}
		_, err := img.Run(t.Context(), cfg) // never closed
		require.NoError(t, err)
	}
	fmt.Println("root", containertest.Engine(t).Root())
	switch end {
	case "fails":
		t.Fatal("on purpose")
	case "panics":
		panic("on purpose")
	case "exits":
		os.Exit(3)
	case "is killed":
		select {}
	}
}

// Whatever way a test binary ends, its engine goes, with containers that
// nobody closed.
func TestNothingIsLeft(t *testing.T) {
	for _, end := range []string{"passes", "fails", "panics", "exits", "is killed"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && end != "is killed" {
				t.Skip("a test binary")
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestInner$")
			cmd.Env = append(os.Environ(), innerEnv+"="+end)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() { _ = cmd.Wait() }()
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			root, ok := strings.CutPrefix(strings.TrimSpace(line), "root ")
			require.True(t, ok, line)
			if end == "is killed" {
				require.NoError(t, cmd.Process.Kill())
			}
			_ = cmd.Wait()
			require.Eventually(t, func() bool {
				_, err := os.Stat(root)
				return errors.Is(err, os.ErrNotExist)
			}, 30*time.Second, 20*time.Millisecond)
			fixture.Remains{}.Same(t, func() fixture.Remains { return fixture.Host(t, root) })
		})
	}
}
