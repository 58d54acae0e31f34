package whole

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// churners is how many goroutines start and close containers.
const churners = 20

// stormKills is for a storm of more kills than the tests have of themselves, of
// programs, shims and forkers each: go test -run Churn ./internal/whole -kills=350
var stormKills = flag.Int("kills", 0, "kills of each Churn test; 0: a few")

// kills is how many there are: normal of them unless the flag says otherwise.
func kills(normal, short int) int {
	switch {
	case *stormKills > 0:
		return *stormKills
	case testing.Short():
		return short
	}
	return normal
}

// churn starts and closes containers, some of them from a pool, until ctx ends or one
// of its goroutines gets an error that is not allowed.
func churn(ctx context.Context, img *image.Image, allowed func(error) bool) error {
	var wg sync.WaitGroup
	errs := make([]error, churners)
	pool, err := img.Warm(ctx, 4, container.Config{})
	for err != nil && ctx.Err() == nil && allowed(err) {
		pool, err = img.Warm(ctx, 4, container.Config{})
	}
	if err != nil {
		if allowed(err) {
			err = nil
		}
		return err
	}
	for n := range churners {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("churn%d-%d", n, i)
				err := func() error {
					if n%4 == 0 {
						return claimAndClose(ctx, pool, name)
					}
					return runAndClose(ctx, img, name, false)
				}()
				if err != nil && !allowed(err) {
					errs[n] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, pool.Close())...)
}

func claimAndClose(ctx context.Context, pool *container.Pool, name string) error {
	c, err := pool.Claim(ctx, container.Claim{Name: name, Args: []string{"sleep", "1000"}})
	if err != nil {
		return err
	}
	return errors.Join(c.Start(ctx), c.Close())
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
// nothing of it.
func TestChurnKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi"))
	require.NoError(t, e.Close())
	before := traces(t, root)
	for range kills(20, 2) {
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
	churnUnder(t, func(shim int) []int { return []int{shim} })
}

// The processes that containers are forked from are killed: the shim starts others.
func TestChurnForkersKilled(t *testing.T) {
	t.Parallel()
	churnUnder(t, forkers)
}

// forkers are a shim's. A container's process has their name until it executes its
// command, but is in another pid namespace.
func forkers(shim int) (pids []int) {
	own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", shim))
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", shim))
	for _, l := range lists {
		b, _ := os.ReadFile(l) // it may be gone: threads end
		for _, field := range strings.Fields(string(b)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			in, _ := os.Readlink("/proc/" + field + "/ns/pid")
			if pid, err := strconv.Atoi(field); err == nil && in == own && strings.HasPrefix(string(line), forker.Name) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// churnUnder kills processes of the shim, which victims gives, beneath what churns.
func churnUnder(t *testing.T, victims func(shim int) []int) {
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi"))
	before := fixture.Count(t, e)
	killed := 0
	for range kills(10, 1) {
		ctx, cancel := context.WithCancel(t.Context())
		churned := make(chan error, 1)
		go func() {
			churned <- churn(ctx, img, func(err error) bool { return errors.Is(err, ctor.ErrUnavailable) || ctx.Err() != nil })
		}()
		<-time.After(rand.N(500 * time.Millisecond))
		for _, shim := range fixture.Shims(e.Root()) {
			pid, err := strconv.Atoi(filepath.Base(shim))
			require.NoError(t, err)
			for _, victim := range victims(pid) {
				err := syscall.Kill(victim, syscall.SIGKILL)
				require.True(t, err == nil || errors.Is(err, syscall.ESRCH), err)
				killed++
			}
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
	t.Logf("%d killed", killed)
}
