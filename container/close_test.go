package container_test

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestClose(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	warm, err := img.New(t.Context(), container.Config{})
	require.NoError(t, err)
	require.NoError(t, warm.Close(), "never started")
	before := fixture.Count(t, e)
	for name, prepare := range map[string]func(*container.Container){
		"created": func(*container.Container) {},
		"running": func(c *container.Container) { require.NoError(t, c.Start(t.Context())) },
		"paused": func(c *container.Container) {
			require.NoError(t, c.Start(t.Context()))
			require.NoError(t, c.Pause(t.Context()))
		},
		"ended": func(c *container.Container) {
			require.NoError(t, c.Start(t.Context()))
			require.NoError(t, c.Stop(t.Context()))
		},
	} {
		for _, detach := range []bool{false, true} {
			if detach && testing.Short() {
				continue
			}
			cfg := sh("sleep 100")
			cfg.StopTimeout, cfg.Detach, cfg.Name = -1, detach, "same"
			c, err := img.New(t.Context(), cfg)
			require.NoError(t, err, name)
			prepare(c)
			var g errgroup.Group
			for range 5 {
				g.Go(c.Close)
			}
			require.NoError(t, g.Wait(), name)
			require.NoError(t, c.Close(), name)
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		}
	}
}

// Close while others wait and follow: all of them get to their end.
func TestCloseWhileWatched(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; sleep 100"))
	var g errgroup.Group
	for range 4 {
		r := follow(t, c)
		g.Go(func() error {
			_, err := io.ReadAll(r)
			return err
		})
		g.Go(func() error {
			if code := exitOf(t, c).Code; code != 137 {
				return assert.AnError
			}
			return nil
		})
	}
	require.NoError(t, c.Close())
	require.NoError(t, g.Wait())
}

// One name, again and again: what Close deletes is never the next one's.
func TestNameAgain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("20 lives")
	}
	img := busybox(t)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for n := 0; n < 5; {
				c, err := img.Run(t.Context(), container.Config{Name: "again", Args: []string{"cat", "/etc/hostname"}})
				if err != nil {
					if !assert.ErrorIs(t, err, ctor.ErrAlreadyExists) {
						return err
					}
					time.Sleep(time.Millisecond)
					continue
				}
				n++
				if err := c.Wait(t.Context()); err != nil {
					return err
				}
				if s := logs(t, c); s != "again\n" {
					return assert.AnError
				}
				if err := c.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

func TestEngineClose(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	img := fixture.Busybox(t, e)
	waits := make(chan error, 5)
	for range 5 {
		c, err := img.Run(t.Context(), sh("trap '' TERM; sleep 100"))
		require.NoError(t, err)
		go func() { waits <- c.Wait(t.Context()) }()
		defer func() { require.NoError(t, c.Close(), "after the engine's") }()
	}
	require.NoError(t, e.Close())
	for range 5 {
		var exit *container.ExitError
		require.ErrorAs(t, <-waits, &exit)
		require.Equal(t, 137, exit.Code)
	}
	require.Empty(t, fixture.Host(t, root))
	_, err = img.New(t.Context(), container.Config{})
	require.ErrorIs(t, err, ctor.ErrClosed)
	_, err = container.List(t.Context(), e)
	require.ErrorIs(t, err, ctor.ErrClosed)
}

// The engine is closed at any moment of New, Start and Close.
func TestEngineCloseDuringLife(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("20 engines")
	}
	root, before := prepared(t)
	for range 20 {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		img := fixture.Busybox(t, e)
		var g errgroup.Group
		for range 3 {
			g.Go(func() error {
				for {
					c, err := img.Run(t.Context(), container.Config{})
					if err != nil {
						if assert.ErrorIs(t, err, ctor.ErrClosed) {
							return nil
						}
						return err
					}
					if err := c.Close(); err != nil {
						return err
					}
				}
			})
		}
		time.Sleep(rand.N(200 * time.Millisecond)) // any moment
		require.NoError(t, e.Close())
		require.NoError(t, g.Wait())
		require.Empty(t, fixture.Host(t, root))
	}
	e := reopen(t, root)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// Lives leave neither goroutines nor descriptors behind.
func TestNoLeak(t *testing.T) {
	// Not parallel: it counts those of the process.
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	life := func() {
		in, w := io.Pipe()
		c, err := img.Run(t.Context(), container.Config{Args: []string{"cat"}, Stdin: in, Stdout: io.Discard})
		require.NoError(t, err)
		r := follow(t, c)
		require.NoError(t, w.Close())
		_, err = io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.NoError(t, c.Wait(t.Context()))
		require.NoError(t, c.Close())
	}
	count := func() (goroutines, files int) {
		dir, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return runtime.NumGoroutine(), len(dir)
	}
	life()
	lives := 50
	if testing.Short() {
		lives = 5
	}
	goroutines, files := count()
	for range lives {
		life()
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		g, f := count()
		// Eventually has two goroutines of its own.
		assert.LessOrEqual(c, g, goroutines+2)
		assert.LessOrEqual(c, f, files)
	}, fixture.Patience, 20*time.Millisecond)
}
