package container_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// ctx ends at any moment: New either works or leaves nothing.
func TestCancelAtAnyMoment(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("50 lives")
	}
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	var took time.Duration
	for range 2 { // the first one unpacks the image
		began := time.Now()
		c, err := img.New(t.Context(), container.Config{})
		require.NoError(t, err)
		took = time.Since(began)
		require.NoError(t, c.Close())
	}
	before := fixture.Count(t, e)
	var cancelled int
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), took*time.Duration(i+1)/51)
		c, err := img.New(ctx, container.Config{Name: "one", Detach: rand.N(5) == 0})
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancelled++
		} else {
			require.NoError(t, c.Start(t.Context()))
			require.NoError(t, c.Wait(t.Context()))
			require.NoError(t, c.Close())
		}
	}
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
	require.NotZero(t, cancelled)
}

// Of ten who want one name exactly one gets it, and the others' undoing does
// not touch it.
func TestRaceForName(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("50 containers made")
	}
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	for range 5 {
		won := make(chan *container.Container, 10)
		var g errgroup.Group
		for i := range 10 {
			g.Go(func() error {
				c, err := img.New(t.Context(), container.Config{Name: "one", Args: []string{"cat", "/etc/hostname"}, Detach: i%5 == 0})
				if err == nil {
					won <- c
					return nil
				}
				if !errors.Is(err, ctor.ErrAlreadyExists) {
					return fmt.Errorf("not ErrAlreadyExists: %w", err)
				}
				return nil
			})
		}
		// Whoever looks meanwhile sees all of it or nothing.
		g.Go(func() error {
			for range 100 {
				c, err := container.Get(t.Context(), e, "one")
				if errors.Is(err, ctor.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				if i, err := c.Info(t.Context()); err != nil || i.State != container.Created {
					return fmt.Errorf("state %q: %w", i.State, err)
				}
			}
			return nil
		})
		require.NoError(t, g.Wait())
		require.Len(t, won, 1)
		c := <-won
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
		require.Equal(t, "one\n", logs(t, c))
		require.NoError(t, c.Close())
	}
	require.Empty(t, fixture.Host(t, e.Root())["files"])
}
