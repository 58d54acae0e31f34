package ctor_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Nothing is collected for a reader of decisions that was never read and is dropped.
func TestDecisionsUnread(t *testing.T) {
	e := fixture.Open(t)
	asked := &engine.Of(e).Decisions
	func() {
		all := e.Decisions(t.Context())
		runtime.GC()
		require.True(t, asked.Asked())
		runtime.KeepAlive(all)
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return !asked.Asked()
	}, fixture.Patience, time.Millisecond)
}
