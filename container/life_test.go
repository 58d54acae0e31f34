package container_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// exitOf is the end of a container that ended with another code than 0.
func exitOf(t testing.TB, c *container.Container) *container.ExitError {
	t.Helper()
	var e *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &e)
	return e
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for script, want := range map[string]container.ExitError{
		"exit 1":                         {Code: 1},
		"exit 42":                        {Code: 42},
		"exit 255":                       {Code: 255},
		"exit 139":                       {Code: 139, Signal: syscall.SIGSEGV},
		"sh -c 'kill -SEGV $$'; exit $?": {Code: 139, Signal: syscall.SIGSEGV},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			c := containertest.Run(t, img, sh(script))
			e := exitOf(t, c)
			want.ID = c.ID()
			require.Equal(t, want, *e)
			i := info(t, c)
			require.Equal(t, container.Exited, i.State)
			require.Equal(t, want.Code, i.ExitCode)
		})
	}
	require.EqualError(t, &container.ExitError{ID: "db", Code: 137, Signal: syscall.SIGKILL, OOMKilled: true},
		`container "db": exit code 137 (killed), out of memory`)
}

func TestStates(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c, err := img.New(t.Context(), sh("trap 'exit 7' TERM; echo ready; while true; do sleep 0.1; done"))
	require.NoError(t, err)
	defer c.Close()
	i := info(t, c)
	require.Equal(t, container.Created, i.State)
	require.Equal(t, c.ID(), i.ID)
	require.Zero(t, i.Pid)
	require.Zero(t, i.Started)
	require.Zero(t, i.Finished)
	require.Equal(t, img.Ref(), i.ImageRef)
	require.Equal(t, img.Digest().String(), i.Image)
	require.WithinDuration(t, time.Now(), i.Created, time.Minute)
	require.False(t, i.Detached)
	require.ErrorIs(t, c.Signal(t.Context(), syscall.SIGTERM), ctor.ErrNotFound)
	require.ErrorIs(t, c.Pause(t.Context()), ctor.ErrInvalid)

	require.NoError(t, c.Start(t.Context()))
	says(t, c, "ready")
	i = info(t, c)
	require.Equal(t, container.Running, i.State)
	require.NoError(t, syscall.Kill(i.Pid, 0))
	require.False(t, i.Started.Before(i.Created))
	require.ErrorIs(t, c.Resume(t.Context()), ctor.ErrInvalid)
	require.ErrorIs(t, c.Signal(t.Context(), syscall.Signal(0)), ctor.ErrInvalid)
	require.ErrorIs(t, c.Signal(t.Context(), syscall.Signal(65)), ctor.ErrInvalid)

	require.NoError(t, c.Pause(t.Context()))
	require.Equal(t, container.Paused, info(t, c).State)
	require.ErrorIs(t, c.Pause(t.Context()), ctor.ErrInvalid)
	require.NoError(t, c.Resume(t.Context()))
	require.Equal(t, container.Running, info(t, c).State)

	require.NoError(t, c.Stop(t.Context()))
	require.Equal(t, 7, exitOf(t, c).Code)
	i = info(t, c)
	require.Equal(t, container.Exited, i.State)
	require.Equal(t, 7, i.ExitCode)
	require.Zero(t, i.Pid)
	require.False(t, i.Finished.Before(i.Started))
	require.NoError(t, c.Stop(t.Context()))
	require.ErrorIs(t, c.Signal(t.Context(), os.Kill), ctor.ErrNotFound)
	require.ErrorIs(t, c.Pause(t.Context()), ctor.ErrInvalid)

	require.NoError(t, c.Close())
	require.Equal(t, 7, exitOf(t, c).Code, "Wait goes on to tell")
	_, err = c.Info(t.Context())
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorIs(t, c.Start(t.Context()), ctor.ErrNotFound)
	require.ErrorIs(t, c.Stop(t.Context()), ctor.ErrNotFound)
}

// The times of a life are of one clock, in whose order they come.
func TestTimes(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for _, detach := range []bool{false, true} {
		made := time.Now()
		c, err := img.New(t.Context(), container.Config{Args: []string{"true"}, Detach: detach})
		require.NoError(t, err)
		defer c.Close()
		started := time.Now()
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
		i := info(t, c)
		require.WithinRange(t, i.Created, made, started)
		require.WithinRange(t, i.Started, started, i.Finished)
		require.WithinRange(t, i.Finished, started, time.Now())
	}
}

func TestStartTwice(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), sh("sleep 100"))
	require.NoError(t, err)
	defer c.Close()
	errs := make(chan error)
	for range 8 {
		go func() { errs <- c.Start(t.Context()) }()
	}
	var started int
	for range 8 {
		if err := <-errs; err == nil {
			started++
		} else {
			require.ErrorIs(t, err, ctor.ErrInvalid)
		}
	}
	require.Equal(t, 1, started)
}

func TestWait(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), sh("exit 3"))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Wait(ctx), context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Wait(ctx), context.DeadlineExceeded)
	var g errgroup.Group
	for range 20 {
		g.Go(func() error {
			var e *container.ExitError
			if err := c.Wait(t.Context()); !errors.As(err, &e) || e.Code != 3 {
				return errors.Join(errors.New("not 3"), err)
			}
			return nil
		})
	}
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, g.Wait())
	require.Equal(t, 3, exitOf(t, c).Code)
}

const handler = "trap 'echo term; exit 5' TERM; trap 'echo quit; exit 6' QUIT; echo ready; while true; do sleep 0.05; done"

func TestStop(t *testing.T) {
	t.Parallel()
	quits := derive(t, "stop", func(c *ocispec.ImageConfig) { c.StopSignal = "SIGQUIT" })
	nonsense := derive(t, "stop-nonsense", func(c *ocispec.ImageConfig) { c.StopSignal = "SIGNONSENSE" })
	for name, test := range map[string]struct {
		quits, nonsense bool
		cfg             container.Config
		want            int
	}{
		"default":         {want: 5},
		"image's":         {quits: true, want: 6},
		"image's unknown": {nonsense: true, want: 5},
		"config's":        {quits: true, cfg: container.Config{StopSignal: "term"}, want: 5},
		"number":          {cfg: container.Config{StopSignal: "3"}, want: 6},
		"at once":         {cfg: container.Config{StopTimeout: -1}, want: 137},
		"no handler":      {cfg: container.Config{StopSignal: "WINCH", StopTimeout: 50 * time.Millisecond}, want: 137},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := busybox(t)
			if test.quits {
				img = quits
			}
			if test.nonsense {
				img = nonsense
			}
			test.cfg.Args = []string{"sh", "-c", handler}
			c := start(t, img, test.cfg)
			require.NoError(t, c.Stop(t.Context()))
			require.Equal(t, container.Exited, info(t, c).State)
			require.Equal(t, test.want, exitOf(t, c).Code)
		})
	}
}

func TestStopAnyState(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c, err := img.New(t.Context(), sh(handler))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Stop(t.Context()))
	require.Equal(t, 137, exitOf(t, c).Code)
	require.Zero(t, info(t, c).Lives, "it was never started")

	paused := start(t, img, sh(handler))
	require.NoError(t, paused.Pause(t.Context()))
	require.NoError(t, paused.Stop(t.Context()))
	require.Equal(t, 5, exitOf(t, paused).Code)

	stubborn := start(t, img, container.Config{Args: []string{"sh", "-c", "trap '' TERM; " + handler[len("trap 'echo term; exit 5' TERM; "):]}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, stubborn.Stop(ctx), context.DeadlineExceeded)
	require.Equal(t, container.Running, info(t, stubborn).State)
}

func TestSignal(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), sh("trap 'echo hup' HUP; echo ready; while true; do sleep 0.05; done"))
	require.NoError(t, c.Signal(t.Context(), syscall.SIGHUP))
	says(t, c, "hup")
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	require.Equal(t, syscall.SIGKILL, exitOf(t, c).Signal)
}

// What is frozen says nothing.
// Many may stop a container that is paused: one of them has it go on.
func TestStopPausedAtOnce(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	c := start(t, busybox(t), sh("trap 'exit 5' TERM; echo ready; while true; do sleep 0.01; done"))
	says(t, c, "ready")
	require.NoError(t, c.Pause(t.Context()))
	var g errgroup.Group
	for range 8 {
		g.Go(func() error { return c.Stop(t.Context()) })
	}
	require.NoError(t, g.Wait())
	require.Equal(t, 5, exitOf(t, c).Code)
	require.NoError(t, c.Close())
}

func TestPause(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; while true; do echo tick; sleep 0.01; done"))
	says(t, c, "tick")
	require.NoError(t, c.Pause(t.Context()))
	settled := logs(t, c)
	require.Eventually(t, func() bool {
		before := settled
		settled = logs(t, c)
		return before == settled
	}, fixture.Patience, 100*time.Millisecond)
	require.NoError(t, c.Resume(t.Context()))
	require.Eventually(t, func() bool { return len(logs(t, c)) > len(settled) }, fixture.Patience, 10*time.Millisecond)
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Close())
}

func TestGetAndList(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, list)
	img := fixture.Busybox(t, e)
	var all []*container.Container
	for _, name := range []string{"a", "b", "c"} {
		c, err := img.New(t.Context(), container.Config{Name: name, Detach: name == "b"})
		require.NoError(t, err)
		defer c.Close()
		all = append(all, c)
		got, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		if name == "b" {
			require.Equal(t, c.ID(), got.ID())
			continue
		}
		require.Same(t, c, got)
	}
	list, err = container.List(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, list, 3)
	for i, c := range all {
		require.Equal(t, c.ID(), list[i].ID())
	}
	require.Same(t, e, list[0].Engine())
	require.NoError(t, all[0].Close())
	for _, id := range []string{"a", "nothing", "", "../a", "a\x00"} {
		_, err = container.Get(t.Context(), e, id)
		require.ErrorIs(t, err, ctor.ErrNotFound, "%q", id)
	}
}
