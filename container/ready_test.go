package container_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

var errNotYet = errors.New("not yet")

// never is a probe that does not come to hold, and looked is closed once it
// was asked.
func never() (p container.Probe, looked <-chan struct{}) {
	done := make(chan struct{})
	var n atomic.Int32
	return func(context.Context, *container.Container) error {
		if n.Add(1) == 1 {
			close(done)
		}
		return errNotYet
	}, done
}

// nth holds when asked for the nth time.
func nth(n int32) container.Probe {
	var asked atomic.Int32
	return func(context.Context, *container.Container) error {
		if k := asked.Add(1); k < n {
			return fmt.Errorf("look %d: %w", k, errNotYet)
		}
		return nil
	}
}

// cannot waits for a probe that must give up by itself.
func cannot(t *testing.T, c *container.Container, p container.Probe) error {
	t.Helper()
	err := c.WaitReady(t.Context(), p)
	require.Error(t, err)
	require.ErrorContains(t, err, "container \""+c.ID()+"\" is not ready: ")
	return err
}

// A probe that panics, or ends its goroutine as t.FailNow does, leaves nothing of
// a container that is not its caller's yet, and the panic is the caller's.
func TestReadyPanics(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	boom := func(context.Context, *container.Container) error { panic("boom") }
	exit := func(context.Context, *container.Container) error { runtime.Goexit(); return nil }
	waits := func(ctx context.Context, _ *container.Container) error { <-ctx.Done(); return ctx.Err() }
	run := func(p container.Probe, detach bool) (r any) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { r = recover() }()
			_, _ = img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}, Ready: p, Detach: detach})
		}()
		<-done
		return r
	}
	run(boom, false)
	before := fixture.Count(t, e)
	for name, p := range map[string]container.Probe{
		"itself": boom, "all": container.All(waits, boom), "any": container.Any(waits, boom), "deep": container.Any(waits, container.All(container.Retry(0, boom))), "exit": exit,
	} {
		for _, detach := range []bool{false, true} {
			r := run(p, detach)
			if name != "exit" {
				require.Contains(t, fmt.Sprint(r), "boom", name)
			}
			list, err := container.List(t.Context(), e)
			require.NoError(t, err)
			require.Empty(t, list, name)
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		}
	}
}

func TestWaitReady(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("sleep 1000"))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	wait := func(p container.Probe) {
		t.Helper()
		require.NoError(t, c.WaitReady(t.Context(), p))
	}
	never, _ := never()
	wait(nil)
	wait(nth(1))
	wait(nth(20))
	wait(container.All())
	wait(container.All(nil, nth(3), nth(10)))
	wait(container.All(container.All(nth(4), nth(2)), container.Any(never, nth(4))))
	wait(container.Any(never, nth(10), never))
	wait(container.Retry(time.Millisecond, nth(10)))
	wait(container.Retry(0, nth(10)))
	require.ErrorIs(t, c.WaitReady(canceled, nth(1)), context.Canceled)

	require.ErrorIs(t, cannot(t, c, container.Any()), ctor.ErrInvalid)
	require.ErrorIs(t, cannot(t, c, container.Log("(", 1)), ctor.ErrInvalid)
	require.ErrorIs(t, cannot(t, c, container.All(never, container.Log("(", 1))), ctor.ErrInvalid)
	require.ErrorIs(t, cannot(t, c, container.Any(container.Any(), container.Log("(", 1))), ctor.ErrInvalid)
	wait(container.Any(container.Any(), nth(3)))
}

// Asked without WaitReady, a probe that waits ends with ctx too.
func TestProbeAlone(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("sleep 1000"))
	for _, combine := range []func(p container.Probe) container.Probe{
		func(p container.Probe) container.Probe { return container.All(p, nth(1)) },
		func(p container.Probe) container.Probe { return container.Any(p, p) },
		func(p container.Probe) container.Probe { return container.Retry(time.Hour, p) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		never, looked := never()
		go func() { <-looked; cancel() }()
		err := combine(never)(ctx, c)
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, strings.Replace(err.Error(), "context canceled", "", 1), "context canceled")
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for name, c := range map[string]struct {
		script, expr string
		n            int
		holds        bool
	}{
		"line":          {"echo starting; echo ready; sleep 1000", "^ready$", 1, true},
		"stderr":        {"echo ready >&2; sleep 1000", "ready", 0, true},
		"later":         {"sleep 0.2; echo ready; sleep 1000", "ready", 1, true},
		"three":         {"for i in 1 2 3; do echo ready $i ready; done; sleep 1000", "ready", 3, true},
		"prompt":        {"echo -n 'login: '; sleep 1000", "^login: $", 1, true},
		"prompts":       {"echo login:; echo -n 'login: '; sleep 1000", "^login:", 2, true},
		"crlf":          {"printf 'ready\\r\\n'; sleep 1000", "^ready$", 1, true},
		"empty line":    {"echo; sleep 1000", "^$", 1, true},
		"and ends":      {"echo ready; exit 3", "ready", 1, true},
		"no line":       {"exit 3", "^$", 1, false},
		"two of three":  {"echo ready; echo ready; exit 3", "ready", 3, false},
		"one, with two": {"echo ready ready; exit 3", "ready", 2, false},
		"long":          {"yes | head -n 100000 | tr -d '\\n'; echo -n ready; exit 3", "ready", 1, true},
		"endless":       {"yes | head -n 10000 | tr -d '\\n'; exit 3", "^y+$", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(c.script, "tr ") {
				c.script = strings.ReplaceAll(c.script, "tr ", "/bin/busybox tr ")
			}
			b := containertest.Run(t, img, sh(c.script))
			err := b.WaitReady(t.Context(), container.Log(c.expr, c.n))
			if c.holds {
				require.NoError(t, err)
				return
			}
			var exit *container.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 3, exit.Code)
			require.ErrorContains(t, err, fmt.Sprintf("log %q: ", c.expr))
		})
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("sleep 0.1; touch /tmp/ready; sleep 1000"))
	require.NoError(t, c.WaitReady(t.Context(), container.Exec("cat", "/tmp/ready")))
	require.ErrorIs(t, cannot(t, c, container.Exec()), ctor.ErrInvalid)
	require.ErrorIs(t, cannot(t, c, container.Exec("nonsense")), exec.ErrNotFound)

	// The look alone, since the last of many may be cut off.
	err := container.Exec("sh", "-c", "printf 'no\\033[31m good\\n\\n'; yes | head -c 100000 1>&2; exit 4")(t.Context(), c)
	require.ErrorContains(t, err, "exit code 4: no good y")
	require.Less(t, len(err.Error()), 2000)
	var exit *container.ExitError
	require.NotErrorAs(t, err, &exit, "the container has not ended")
}

func TestFileProbe(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("ln -s /tmp/ready /there; sleep 0.1; touch /tmp/ready; sleep 1000"))
	require.NoError(t, c.WaitReady(t.Context(), container.All(
		container.File("/there"), container.File("tmp/../tmp/ready"), container.File("/"), container.File("/../../tmp"))))
	for _, name := range []string{"", "a\x00b", "\xff"} {
		require.ErrorIs(t, cannot(t, c, container.File(name)), ctor.ErrInvalid)
	}
	err := container.File("/missing")(t.Context(), c)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "file /missing: no such file or directory")
	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	var exit *container.ExitError
	require.ErrorAs(t, cannot(t, c, container.File("/missing")), &exit)
}

// What was wrong: the look, the log, without what could steer a terminal.
func TestNotReady(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), sh(`
		for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done
		printf '\033[31mred\033[0m \033]0;title\007bell\007 \377bad\000\n'
		yes | head -c 9000 | /bin/busybox tr -d '\n'
		echo; echo; echo FATAL: no space left; echo ready; sleep 1000`))
	never, looked := never()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-looked; cancel() }()
	err := c.WaitReady(ctx, container.All(never, nth(1)))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errNotYet)
	head, log, _ := strings.Cut(err.Error(), "\n")
	require.Equal(t, `container "`+c.ID()+`" is not ready: context canceled: not yet`, head)
	want := []string{"the end of its log:", "line 5", "line 6", "line 7", "line 8", "line 9", "red bell ?bad", strings.Repeat("y", 200) + "...", "", "FATAL: no space left", "ready"}
	require.Equal(t, strings.Join(want, "\n\t"), log)
}

// The container's end ends the wait, whatever its code.
func TestEndBeforeReady(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for _, detach := range []bool{false, true} {
		for script, want := range map[string]container.ExitError{
			"echo no config >&2; exit 3": {Code: 3},
			"echo no config; exit 0":     {},
			"echo no config; exit 137":   {Code: 137, Signal: syscall.SIGKILL},
		} {
			t.Run(fmt.Sprint(script, detach), func(t *testing.T) {
				t.Parallel()
				cfg := sh("sleep 0.1; sh -c '" + script + "'")
				cfg.Detach = detach
				c := containertest.Run(t, img, cfg)
				never, _ := never()
				err := c.WaitReady(t.Context(), container.All(never))
				var exit *container.ExitError
				require.ErrorAs(t, err, &exit)
				want.ID = c.ID()
				require.Equal(t, want, *exit)
				require.ErrorIs(t, err, errNotYet)
				require.ErrorContains(t, err, "no config")
				require.ErrorAs(t, cannot(t, c, container.Exec("true")), &exit, "after the end")
			})
		}
	}
}

func TestReadyOfDetached(t *testing.T) {
	t.Parallel()
	cfg := sh("sleep 0.1; echo ready; sleep 1000")
	cfg.Detach, cfg.Ready = true, container.Log("ready", 1)
	c := containertest.Run(t, busybox(t), cfg)
	require.Equal(t, "ready\n", logs(t, c))
	found, err := container.Get(t.Context(), c.Engine(), c.ID())
	require.NoError(t, err)
	require.NoError(t, found.WaitReady(t.Context(), container.All(container.Log("ready", 1), container.Exec("true"))))
}

func TestWaitReadyUntilClose(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	wait := func(close func() error) error {
		c, err := img.Run(t.Context(), sh("sleep 1000"))
		require.NoError(t, err)
		if close == nil {
			close = c.Close
		}
		never, looked := never()
		ended := make(chan error)
		go func() { ended <- c.WaitReady(context.Background(), never) }()
		<-looked
		require.NoError(t, close())
		err = <-ended
		require.ErrorContains(t, c.WaitReady(t.Context(), never), "wait for readiness of")
		return err
	}
	var exit *container.ExitError
	require.ErrorAs(t, wait(nil), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.ErrorIs(t, wait(e.Close), ctor.ErrClosed)

	c, err := busybox(t).New(t.Context(), sh("true"))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.WaitReady(ctx, container.Exec("true")), context.DeadlineExceeded, "it is not started")
	require.NoError(t, c.Start(t.Context()))
}

// Run of what does not become ready leaves nothing.
func TestRunNotReady(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	warm, err := img.Run(t.Context(), sh("true"))
	require.NoError(t, err)
	require.NoError(t, warm.Close())
	before := fixture.Count(t, e)
	never, looked := never()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-looked; cancel() }()
	cfg := sh("echo starting; sleep 1000")
	cfg.Ready = never
	_, err = img.Run(ctx, cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errNotYet)
	_, err = img.Run(t.Context(), container.Config{Args: []string{"false"}, Ready: never})
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.Code)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, list)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}
