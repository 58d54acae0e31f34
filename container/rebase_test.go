package container_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/engine"
)

// While a container is held no life of it begins, by a policy or a caller, and the next
// one begins afterwards; Close ends the hold.
func TestHold(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := restarted(t, containertest.Engine(t), of(sh("exit 1")), container.Always)
			var lives int
			require.NoError(t, engine.Hold(t.Context(), c, func(ctx context.Context) error {
				i := eventually(t, c, in(container.Restarting))
				lives = i.Lives
				require.ErrorIs(t, c.Start(ctx), ctor.ErrInvalid)
				require.Never(t, func() bool { return info(t, c).Lives > lives }, 500*time.Millisecond, 10*time.Millisecond)
				return ctx.Err()
			}))
			eventually(t, c, func(i container.Info) bool { return i.Lives > lives })

			held, removed := make(chan struct{}), make(chan error, 1)
			go func() {
				<-held
				removed <- c.Remove(t.Context())
			}()
			err := engine.Hold(t.Context(), c, func(ctx context.Context) error {
				close(held)
				<-ctx.Done()
				return ctx.Err()
			})
			require.ErrorIs(t, err, ctor.ErrNotFound)
			require.ErrorContains(t, err, "it is closed")
			require.NoError(t, <-removed)
		})
	}
}
