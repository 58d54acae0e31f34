package container_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// story reads what happens to containers after a cursor, until so many were removed,
// and gives it by their ids.
func story(t *testing.T, e *ctor.Engine, after ctor.Cursor, removed int) map[string][]ctor.EventAction {
	t.Helper()
	all := map[string][]ctor.EventAction{}
	for ev, err := range e.EventsAfter(t.Context(), after, &ctor.EventFilter{Kinds: []ctor.EventKind{ctor.EventContainer}}) {
		require.NoError(t, err)
		all[ev.ID] = append(all[ev.ID], ev.Action)
		if ev.Action == ctor.Removed {
			if removed--; removed == 0 {
				break
			}
		}
	}
	return all
}

// churned is how many containers TestEventsChurn makes: CTOR_TEST_CHURN, or few.
func churned() int {
	if n, err := strconv.Atoi(os.Getenv("CTOR_TEST_CHURN")); err == nil {
		return n
	}
	if testing.Short() {
		return 40
	}
	return 160
}

// Eight goroutines make and close containers while readers come and go: each reader
// sees each event once, and those of a container in their order.
func TestEventsChurn(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	start := e.Cursor()
	n := churned()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := w; i < n; i += 8 {
				c, err := img.Run(t.Context(), container.Config{Args: []string{"true"}})
				if !assert.NoError(t, err) {
					return
				}
				if i%2 == 0 {
					assert.NoError(t, c.Wait(t.Context()))
				}
				assert.NoError(t, c.Close())
			}
		})
	}
	for range 6 {
		all.Go(func() { visits(t, e, start, n) })
	}
	all.Wait()
	for id, actions := range story(t, e, start, n) {
		require.Equal(t, []ctor.EventAction{ctor.Created, ctor.Started, ctor.Exited, ctor.Removed}, actions, id)
	}
}

// visits reads until n containers are removed, and goes away again and again.
func visits(t *testing.T, e *ctor.Engine, cursor ctor.Cursor, n int) {
	seen := map[string]int{}
	order := []ctor.EventAction{ctor.Created, ctor.Started, ctor.Exited, ctor.Removed}
	for removed := 0; removed < n; {
		ctx, leave := context.WithCancel(t.Context())
		rest := rand.IntN(50)
		for ev, err := range e.EventsAfter(ctx, cursor, nil) {
			if !assert.NoError(t, err) {
				leave()
				return
			}
			if !assert.Equal(t, cursor+1, ev.Cursor) || !assert.Equal(t, order[seen[ev.ID]], ev.Action) {
				leave()
				return
			}
			cursor = ev.Cursor
			seen[ev.ID]++
			if ev.Action == ctor.Removed {
				removed++
			}
			if rest--; rest < 0 || removed == n {
				break
			}
		}
		leave()
	}
}

// Nothing is lost between a List and the events after a cursor taken before it, and
// over the engine's close and its next Open.
func TestEventsReopened(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	cursor := e.Cursor()
	kept := restarted(t, e, container.Config{Name: "kept", Keep: true, Args: []string{"sleep", "1000"}}, container.Always)
	detached := restarted(t, e, container.Config{Name: "detached", Detach: true, Args: []string{"sh", "-c", "sleep 0.1; exit 3"}}, container.RestartNo)
	attached := restarted(t, e, container.Config{Args: []string{"sleep", "1000"}}, container.RestartNo)
	require.NoError(t, e.Close())
	for ev, err := range e.Events(t.Context()) {
		require.Zero(t, ev)
		require.ErrorIs(t, err, ctor.ErrClosed)
	}
	e = reopen(t, root)
	c, err := container.Get(t.Context(), e, "kept")
	require.NoError(t, err)
	require.NoError(t, c.Pause(t.Context()))
	all := map[string][]string{}
	done := 0
	for ev, err := range e.EventsAfter(t.Context(), cursor, nil) {
		require.NoError(t, err)
		all[ev.ID] = append(all[ev.ID], fmt.Sprintf("%s %d %d", ev.Action, ev.Life, ev.ExitCode))
		if ev.ID == detached.ID() && ev.Action == ctor.Exited || ev.ID == kept.ID() && ev.Action == ctor.Paused {
			if done++; done == 2 {
				break
			}
		}
	}
	require.Equal(t, map[string][]string{
		kept.ID():     {"created 0 0", "started 1 0", "exited 1 137", "started 2 0", "paused 0 0"},
		detached.ID(): {"created 0 0", "started 1 0", "exited 1 3"},
		attached.ID(): {"created 0 0", "started 1 0", "exited 1 137", "removed 0 0"},
	}, all)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	for _, c := range list {
		require.NoError(t, c.Remove(t.Context()))
	}
}

// The lives that a detached container's policy begins are told, and after a kill what
// is gone is.
func TestEventsKilled(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	h := startHelper(t, "loops", root)
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	e := reopen(t, root)
	detached, err := container.Get(t.Context(), e, "detached")
	require.NoError(t, err)
	swept, lives := false, 0
	for ev, err := range e.EventsAfter(t.Context(), 0, nil) {
		require.NoError(t, err)
		swept = swept || ev.Action == ctor.Swept
		if ev.ID == detached.ID() && ev.Action == ctor.Exited && swept {
			require.Equal(t, 1, ev.ExitCode)
			require.False(t, ev.Time.IsZero())
			if lives++; lives == 2 {
				break
			}
		}
	}
	require.True(t, swept)
	for _, name := range []string{"kept", "detached"} {
		c, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		require.NoError(t, c.Remove(t.Context()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range e.Events(ctx) {
		require.True(t, errors.Is(err, context.Canceled), err)
	}
}

// What several remove, or one several times, is removed once, as events tell.
func TestRemovedOnce(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	from := e.Cursor()
	const each = 4
	for n := range each {
		for kind, of := range kinds {
			cfg := of(container.Config{Args: []string{"true"}})
			c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
			require.NoError(t, err)
			require.ErrorIs(t, c.Wait(t.Context()), nil)
			all := []*container.Container{c}
			for range 3 {
				again, err := container.Get(t.Context(), e, c.ID())
				require.NoError(t, err)
				all = append(all, again)
			}
			if kind == "kept" && n%2 == 0 {
				require.NoError(t, c.Close())
			}
			var removing sync.WaitGroup
			for _, c := range all {
				for range 2 {
					removing.Go(func() { assert.NoError(t, c.Remove(t.Context()), kind) })
				}
			}
			removing.Wait()
			require.NoError(t, c.Remove(t.Context()), "once more")
		}
	}
	last, err := fixture.Busybox(t, e).New(t.Context(), container.Config{Name: "last"})
	require.NoError(t, err)
	require.NoError(t, last.Close())
	removed := map[string]int{}
	for ev, err := range e.EventsAfter(t.Context(), from, &ctor.EventFilter{Actions: []ctor.EventAction{ctor.Removed}}) {
		require.NoError(t, err)
		if removed[ev.ID]++; ev.Name == "last" {
			break
		}
	}
	require.Len(t, removed, len(kinds)*each+1)
	for id, times := range removed {
		require.Equal(t, 1, times, id)
	}
}
