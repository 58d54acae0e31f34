package network_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/network"
)

// A network that several remove at once is removed once, as events tell.
func TestRemovedOnce(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	from := e.Cursor()
	const networks = 20
	for range networks {
		n, err := network.New(t.Context(), e, network.Config{})
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := n.Remove(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	last, err := network.New(t.Context(), e, network.Config{Name: "last"})
	require.NoError(t, err)
	require.NoError(t, last.Remove(t.Context()))
	removed := map[string]int{}
	for ev, err := range e.EventsAfter(t.Context(), from, &ctor.EventFilter{Actions: []ctor.EventAction{ctor.Removed}}) {
		require.NoError(t, err)
		if removed[ev.Name]++; ev.Name == "last" {
			break
		}
	}
	require.Len(t, removed, networks+1)
	for name, times := range removed {
		require.Equal(t, 1, times, name)
	}
}
