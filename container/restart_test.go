package container_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// restarted makes a container with a policy, starts it, and removes it with the test.
func restarted(t *testing.T, e *ctor.Engine, cfg container.Config, policy container.Restart) *container.Container {
	t.Helper()
	cfg.Restart = policy
	c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := c.Remove(context.WithoutCancel(t.Context())); err != nil {
			require.ErrorIs(t, err, ctor.ErrClosed)
		}
	})
	return c
}

// eventually waits until a container is as it should be.
func eventually(t *testing.T, c *container.Container, is func(container.Info) bool) container.Info {
	t.Helper()
	var i container.Info
	require.Eventually(t, func() bool {
		i = info(t, c)
		return is(i)
	}, time.Minute, 5*time.Millisecond, "%+v", &i)
	return i
}

func in(s container.State) func(container.Info) bool {
	return func(i container.Info) bool { return i.State == s }
}

// Failures are counted, the end without one ends the loop, and Start counts anew.
func TestRestartOnFailure(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := restarted(t, containertest.Engine(t), of(sh(counts+"; exit 3")), container.OnFailure(2))
			i := eventually(t, c, in(container.Exited))
			require.Equal(t, 3, i.Lives)
			require.Equal(t, 2, i.Restarts)
			require.Equal(t, 3, i.ExitCode)
			require.Equal(t, 3, exitOf(t, c).Code)
			require.Equal(t, lives(3), logs(t, c))
			require.NoError(t, c.Start(t.Context()))
			i = eventually(t, c, in(container.Exited))
			require.Equal(t, 6, i.Lives)
			require.Equal(t, 2, i.Restarts)
			require.Equal(t, 3, exitOf(t, c).Code)
			require.Equal(t, lives(6), logs(t, c))

			c = restarted(t, containertest.Engine(t), of(sh(counts+"; [ $n = 2 ]")), container.OnFailure(0))
			i = eventually(t, c, in(container.Exited))
			require.Equal(t, 2, i.Lives)
			require.Equal(t, 0, i.ExitCode)
			require.NoError(t, c.Wait(t.Context()))
			require.Equal(t, lives(2), logs(t, c))
		})
	}
}

// A crash loop is stopped at whatever moment of it: while the container runs, in a
// pause, and while it is being started.
func TestStopCrashLoop(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= 3; n++ {
				cfg := of(sh(counts + "; exit 1"))
				cfg.StopTimeout = -1
				c := restarted(t, containertest.Engine(t), cfg, container.Always)
				eventually(t, c, func(i container.Info) bool { return i.Lives >= n })
				require.NoError(t, c.Stop(t.Context()))
				i := info(t, c)
				require.Equal(t, container.Exited, i.State)
				require.Never(t, func() bool { return info(t, c).Lives != i.Lives }, 300*time.Millisecond, 20*time.Millisecond)
				require.NoError(t, c.Start(t.Context()))
				eventually(t, c, func(now container.Info) bool { return now.Lives > i.Lives+1 })
				require.NoError(t, c.Remove(t.Context()))
			}
		})
	}
}

// What ran goes on after the next Open, and what was stopped does not, whichever
// policy it has.
func TestRestartReopened(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	wait := "; trap 'exit 0' TERM; while true; do sleep 0.05; done"
	policies := map[string]container.Restart{
		"always": container.Always, "unless": container.UnlessStopped, "failure": container.OnFailure(0), "no": container.RestartNo,
	}
	for name, policy := range policies {
		for _, kind := range []string{"kept", "detached"} {
			for _, stopped := range []string{"-stopped", ""} {
				cfg := kinds[kind](sh(counts + wait))
				cfg.Name, cfg.StopTimeout = kind+name+stopped, -1
				c := restarted(t, e, cfg, policy)
				if stopped != "" {
					require.NoError(t, c.Stop(t.Context()))
				}
			}
		}
	}
	for range 2 {
		require.NoError(t, e.Close())
		e = reopen(t, root)
		for name, policy := range policies {
			for _, kind := range []string{"kept", "detached"} {
				for _, stopped := range []string{"-stopped", ""} {
					c, err := container.Get(t.Context(), e, kind+name+stopped)
					require.NoError(t, err)
					want := container.Running
					if stopped != "" || kind == "kept" && policy == container.RestartNo {
						want = container.Exited
					}
					require.Equal(t, want, info(t, c).State, c.Name())
				}
			}
		}
	}
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	for _, c := range list {
		require.NoError(t, c.Remove(t.Context()))
	}
}

// Over the program's death a detached container's loop goes on, and a kept one's
// does in the next program.
func TestRestartKilled(t *testing.T) {
	t.Parallel()
	root, before := prepared(t)
	h := startHelper(t, "loops", root)
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	e := reopen(t, root)
	for _, name := range []string{"kept", "detached"} {
		c, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		was := info(t, c).Lives
		eventually(t, c, func(i container.Info) bool { return i.Lives > was+1 })
		require.NoError(t, c.Stop(t.Context()))
		i := info(t, c)
		require.Equal(t, container.Exited, i.State)
		if name == "detached" { // of the other the killed program was to write the log
			// Stop may have been faster than the first word of the last life.
			require.Contains(t, []string{lives(i.Lives), lives(i.Lives - 1)}, logs(t, c))
		}
		require.NoError(t, c.Remove(t.Context()))
	}
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// AutoRemove leaves nothing, and Wait tells how it ended.
func TestAutoRemove(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	for _, kind := range []string{"attached", "detached"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := kinds[kind](sh("until [ -e /go/on ]; do sleep 0.01; done; exit 7"))
			cfg.AutoRemove = true
			cfg.Mounts = []container.Mount{{Source: dir, Target: "/go"}}
			c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- c.Wait(t.Context()) }()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "on"), nil, 0o644))
			var exit *container.ExitError
			require.ErrorAs(t, <-ended, &exit)
			require.Equal(t, 7, exit.Code)
			require.Eventually(t, func() bool {
				_, err := container.Get(t.Context(), e, c.ID())
				return err != nil
			}, time.Minute, 5*time.Millisecond)
			_, err = container.Get(t.Context(), e, c.ID())
			require.ErrorIs(t, err, ctor.ErrNotFound)
		})
	}
}

// What can't be together is refused before anything is made.
func TestBadRestart(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for name, cfg := range map[string]container.Config{
		"restart and AutoRemove": {Restart: container.Always, AutoRemove: true},
		"Keep and AutoRemove":    {Keep: true, AutoRemove: true},
		"is no policy":           {Restart: container.OnFailure(-1)},
	} {
		_, err := img.New(t.Context(), cfg)
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
	require.Equal(t, "on-failure:3", container.OnFailure(3).String())
}
