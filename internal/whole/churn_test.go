package whole

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// churners is how many goroutines start and close containers.
const churners = 20

// churn starts and closes containers until ctx ends or one of its goroutines
// gets an error that is not allowed.
func churn(ctx context.Context, img *image.Image, allowed func(error) bool) error {
	var wg sync.WaitGroup
	errs := make([]error, churners)
	for n := range churners {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := runAndClose(ctx, img, fmt.Sprintf("churn%d-%d", n, i), false); err != nil && !allowed(err) {
					errs[n] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// helpChurn churns until it is killed.
func helpChurn(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- churn(ctx, img, func(error) bool { return false }) }()
	go ready()
	return <-failed
}

// A program that starts and closes containers in 20 goroutines is killed: what
// was under way is gone without anybody's help, and the next engine finds
// nothing of it. 100 moments: go test -run TestChurnKilled -count=5
func TestChurnKilled(t *testing.T) {
	t.Parallel()
	kills := 20
	if testing.Short() {
		kills = 2
	}
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi"))
	require.NoError(t, e.Close())
	before := traces(t, root)
	for range kills {
		h := fixture.Start(t, fixture.Program("churn", root))
		moment := rand.N(500 * time.Millisecond)
		<-time.After(moment)
		h.Kill(t)
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			now := fixture.Host(t, root)
			assert.Empty(c, append(now["processes"], fixture.Shims(root)...), "killed after %v", moment)
			assert.Empty(c, now["mounts"])
			assert.Empty(c, now["cgroups"])
		}, prompt, 10*time.Millisecond)
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		tidy(t, e)
		require.NoError(t, e.Close())
		require.Equal(t, before, traces(t, root))
	}
}

// The shim is killed beneath 20 goroutines: they are told, go on with another
// one, and nothing of the first is left. 50 moments: go test -run
// TestChurnShimKilled -count=5
func TestChurnShimKilled(t *testing.T) {
	t.Parallel()
	kills := 10
	if testing.Short() {
		kills = 1
	}
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi"))
	before := fixture.Count(t, e)
	for range kills {
		ctx, cancel := context.WithCancel(t.Context())
		churned := make(chan error, 1)
		go func() {
			churned <- churn(ctx, img, func(err error) bool { return errors.Is(err, ctor.ErrUnavailable) || ctx.Err() != nil })
		}()
		<-time.After(rand.N(500 * time.Millisecond))
		for _, shim := range fixture.Shims(e.Root()) {
			pid, err := strconv.Atoi(filepath.Base(shim))
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		<-time.After(rand.N(100 * time.Millisecond)) // with another one
		cancel()
		require.NoError(t, <-churned)
		containers, err := container.List(t.Context(), e)
		require.NoError(t, err)
		require.Empty(t, containers)
		require.Equal(t, "hi\n", fixture.Echo(t, e, "next", "hi"))
		before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
	}
}
