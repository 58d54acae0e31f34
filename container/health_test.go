package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// The health changes as the check says, in Info and in the events, in each life.
func TestHealth(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	e := containertest.Engine(t)
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cursor := e.Cursor()
			cfg := of(container.Config{Args: []string{"sleep", "1000"}})
			cfg.StopTimeout = -1
			cfg.Health = &container.Healthcheck{Args: []string{"sh", "-c", "echo look; [ -e /well ]"}, Interval: 20 * time.Millisecond, Retries: 2}
			c := restarted(t, e, cfg, container.RestartNo)
			is := func(s container.HealthStatus) func(container.Info) bool {
				return func(i container.Info) bool { return i.Health == s }
			}
			i := eventually(t, c, is(container.HealthBad))
			require.Contains(t, i.HealthSays, "look")
			found, err := container.Get(t.Context(), e, c.ID())
			require.NoError(t, err)
			i = eventually(t, found, is(container.HealthBad)) // whichever Container of it looks
			require.Contains(t, i.HealthSays, "look")
			require.NoError(t, c.FS().WriteFile("well", nil, 0o644))
			require.Empty(t, eventually(t, c, is(container.HealthGood)).HealthSays)
			require.NoError(t, c.Pause(t.Context()))
			require.NoError(t, c.Resume(t.Context()))
			require.NoError(t, c.FS().Remove("well"))
			eventually(t, c, is(container.HealthBad))
			require.NoError(t, c.Stop(t.Context()))
			require.Equal(t, container.HealthNone, info(t, c).Health)
			require.NoError(t, c.Start(t.Context()))
			eventually(t, c, is(container.HealthBad))
			var told []string
			for ev, err := range e.EventsAfter(t.Context(), cursor, &ctor.EventFilter{
				Containers: []string{c.ID()}, Actions: []ctor.EventAction{ctor.Health},
			}) {
				require.NoError(t, err)
				if told = append(told, ev.Detail); len(told) == 4 {
					require.Equal(t, 2, ev.Life)
					break
				}
			}
			require.Equal(t, []string{"unhealthy", "healthy", "unhealthy", "unhealthy"}, told)
		})
	}
}

// The start period counts from the start of the life that is looked at, also while that
// is about to begin.
func TestHealthStartPeriod(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	cursor := e.Cursor()
	const period = 200 * time.Millisecond
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"sleep", "1000"}, Health: &container.Healthcheck{
		Args: []string{"false"}, Interval: 20 * time.Millisecond, StartPeriod: period, StartInterval: time.Millisecond, Retries: 1,
	}})
	eventually(t, c, func(i container.Info) bool { return i.Health == container.HealthBad })
	next := container.LookAtNext(c)
	filter := ctor.EventFilter{Containers: []string{c.ID()}, Actions: []ctor.EventAction{ctor.Health}}
	for ev, err := range e.EventsAfter(t.Context(), cursor, &filter) {
		require.NoError(t, err)
		if ev.Life == 1 {
			require.GreaterOrEqual(t, ev.Time.Sub(info(t, c).Started), period)
			continue
		}
		require.GreaterOrEqual(t, ev.Time.Sub(next), period)
		break
	}
}

// A check that is none turns the image's off.
func TestNoHealth(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"sleep", "1000"}, Health: &container.Healthcheck{}})
	require.Equal(t, container.HealthNone, info(t, c).Health)
	require.ErrorIs(t, c.WaitReady(t.Context(), container.Healthy()), ctor.ErrInvalid)
}
