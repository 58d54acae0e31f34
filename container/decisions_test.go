package container_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/fixture"
)

// The engine tells what becomes of each connection of a container.
func TestDecisions(t *testing.T) {
	t.Parallel()
	needsWay(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := containertest.Engine(t).Decisions(ctx)
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10_000)) }))
	c := containertest.Run(t, busybox(t), container.Config{
		Network: container.Out(egress.Mux{"shop.test:80": shop}.Dial),
		Args:    []string{"sh", "-c", "wget -q -O /dev/null http://shop.test/ && ! wget -q -O - http://evil.test/"},
	})
	ended := map[string]egress.Decision{}
	for d, err := range all {
		if len(ended) == 2 {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		require.NoError(t, err)
		if d.Container == c.ID() && d.Ended {
			ended[d.Address] = d
		}
		if len(ended) == 2 {
			cancel()
		}
	}
	shopped := ended["shop.test:80"]
	require.Equal(t, egress.Allowed, shopped.Verdict)
	require.Greater(t, shopped.Received, int64(10_000))
	require.Positive(t, shopped.Sent)
	require.Equal(t, egress.Refused, ended["evil.test:80"].Verdict)
	require.NoError(t, c.Wait(t.Context()))
	for _, err := range all {
		require.ErrorIs(t, err, context.Canceled, "it is read once")
	}
}

// A reader of decisions that does not read costs little, and is told what it has
// missed; the engine's end ends it.
func TestDecisionsSlowReader(t *testing.T) {
	t.Parallel()
	needsWay(t)
	if testing.Short() {
		t.Skip("1,100 connections")
	}
	e := fixture.Open(t)
	all := e.Decisions(t.Context())
	img := fixture.Busybox(t, e)
	c, err := img.Run(t.Context(), container.Config{
		Network: container.Out(egress.Allow()),
		Args:    []string{"sh", "-c", "for i in $(seq 1100); do echo x | nc -w 1 10.9.9.9 80; done 2>/dev/null; true"},
	})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	told, missed := 0, 0
	for _, err := range all {
		var m ctor.MissedDecisions
		switch {
		case err == nil:
			told++
		case errors.As(err, &m):
			missed += int(m)
			require.NoError(t, e.Close())
		default:
			require.ErrorIs(t, err, ctor.ErrClosed)
		}
	}
	require.Equal(t, 1024, told)
	require.Equal(t, 1100-1024, missed)
}
