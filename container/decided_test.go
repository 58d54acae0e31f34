package container_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
)

// The engine is told of what becomes of each connection of a container, if it asks.
func TestDecided(t *testing.T) {
	t.Parallel()
	needsWay(t)
	in := engine.Of(containertest.Engine(t))
	var mu sync.Mutex
	told := map[string][]egress.Decision{}
	tell := func(d egress.Decision) {
		mu.Lock()
		defer mu.Unlock()
		told[d.Container] = append(told[d.Container], d)
	}
	in.Decided.Store(&tell)
	defer in.Decided.Store(nil)
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10_000)) }))
	c := containertest.Run(t, busybox(t), container.Config{
		Network: container.Out(egress.Mux{"shop.test:80": shop}.Dial),
		Args:    []string{"sh", "-c", "wget -q -O /dev/null http://shop.test/ && ! wget -q -O - http://evil.test/"},
	})
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Close()) // its connections have ended
	mu.Lock()
	defer mu.Unlock()
	var all []egress.Decision
	for _, d := range told[c.ID()] {
		if d.Ended {
			all = append(all, d)
		}
	}
	require.Len(t, all, 2)
	if all[0].Verdict != egress.Allowed { // which ends first is not said
		all[0], all[1] = all[1], all[0]
	}
	require.Equal(t, "shop.test:80", all[0].Address)
	require.Equal(t, egress.Allowed, all[0].Verdict)
	require.Greater(t, all[0].Received, int64(10_000))
	require.Positive(t, all[0].Sent)
	require.Equal(t, "evil.test:80", all[1].Address)
	require.Equal(t, egress.Refused, all[1].Verdict)
}
