package restart

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/journal"
)

func TestWants(t *testing.T) {
	ended := func(code, restarts int) journal.Past {
		return journal.Past{Lives: 1 + restarts, Restarts: restarts, Exit: &journal.Exit{Code: code}}
	}
	unseen := journal.Past{Lives: 1}
	stopped := ended(1, 0)
	stopped.Stopped = true
	for _, of := range []struct {
		policy Policy
		past   journal.Past
		want   bool
	}{
		{No, ended(1, 0), false},
		{Always, ended(0, 1000), true},
		{UnlessStopped, ended(0, 0), true},
		{UnlessStopped, stopped, false},
		{Always, stopped, false},
		{Always, journal.Past{}, false}, // it was never started
		{OnFailure, ended(0, 0), false},
		{OnFailure, ended(1, 1000), true},
		{OnFailure, unseen, true},
		{2, ended(1, 0), true},
		{2, ended(1, 1), true},
		{2, ended(1, 2), false},
		{2, ended(0, 0), false},
		{2, unseen, true},
	} {
		require.Equal(t, of.want, of.policy.Wants(of.past), "%s of %+v", of.policy, of.past)
	}
}

func TestPauses(t *testing.T) {
	var p Pauses
	var got []time.Duration
	for range 12 {
		got = append(got, p.After(time.Second))
	}
	require.Equal(t, []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 12800 * time.Millisecond,
		25600 * time.Millisecond, 51200 * time.Millisecond, time.Minute, time.Minute,
	}, got)
	require.Equal(t, 100*time.Millisecond, p.After(10*time.Second), "a life of ten seconds is none of a loop")
	require.Equal(t, 200*time.Millisecond, p.After(0))
}

func TestNames(t *testing.T) {
	for p, name := range map[Policy]string{
		No: "no", Always: "always", UnlessStopped: "unless-stopped", OnFailure: "on-failure", 7: "on-failure:7",
	} {
		require.True(t, p.Valid())
		require.Equal(t, name, p.String())
	}
	require.False(t, Policy(-4).Valid())
}
