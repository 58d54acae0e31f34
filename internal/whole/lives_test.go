package whole

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// holdings is what two processes, this one and its shim, hold of the kernel's.
// A network namespace lives as long as a process, a descriptor or a mount has
// it, so one that is left is among these too.
type holdings struct{ goroutines, files, shimFiles, shimMounts, zombies int }

func held(t testing.TB, root string) holdings {
	shims := fixture.Shims(root)
	require.Len(t, shims, 1)
	list := func(dir string) int {
		d, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(d)
	}
	mounts, err := os.ReadFile(filepath.Join(shims[0], "mountinfo"))
	require.NoError(t, err)
	return holdings{
		goroutines: runtime.NumGoroutine(),
		files:      list("/proc/self/fd"),
		shimFiles:  list(filepath.Join(shims[0], "fd")),
		shimMounts: strings.Count(string(mounts), root+"/"),
		zombies:    zombies("/proc/self") + zombies(shims[0]),
	}
}

// zombies counts a process's children that nobody has waited for.
func zombies(process string) (n int) {
	lists, _ := filepath.Glob(filepath.Join(process, "task/*/children"))
	for _, l := range lists {
		pids, _ := os.ReadFile(l)
		for pid := range strings.FieldsSeq(string(pids)) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "Z") {
				n++
			}
		}
	}
	return n
}

// Lives leave nothing: 500 one after the other, and 200 at once.
func TestLivesLeaveNothing(t *testing.T) {
	// Not parallel: it counts what the process has.
	row, crowd := 500, 200
	if testing.Short() {
		row, crowd = 20, 10
	}
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	inRow := func(n int) {
		for range n {
			require.NoError(t, life(t, img, "true"))
		}
	}
	atOnce := func(n int) {
		all := make([]*container.Container, n)
		var g errgroup.Group
		g.SetLimit(8)
		for i := range all {
			g.Go(func() (err error) {
				all[i], err = img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}, StopTimeout: -1})
				return err
			})
		}
		require.NoError(t, g.Wait())
		for _, c := range all {
			g.Go(c.Close)
		}
		require.NoError(t, g.Wait())
	}
	inRow(5) // fills caches
	atOnce(8)
	remains, before := fixture.Count(t, e), held(t, e.Root())
	for _, lives := range []func(){func() { inRow(row) }, func() { atOnce(crowd) }} {
		lives()
		remains.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			now := held(t, e.Root())
			assert.LessOrEqual(c, now.goroutines, before.goroutines+2) // Eventually has two
			assert.LessOrEqual(c, now.files, before.files)
			assert.LessOrEqual(c, now.shimFiles, before.shimFiles)
			assert.LessOrEqual(c, now.shimMounts, before.shimMounts)
			assert.Zero(c, now.zombies)
		}, prompt, 20*time.Millisecond)
	}
}

// 200 starts by 8 goroutines, and none fails. 2,000: go test -run
// TestLivesAtOnce -count=10
func TestLivesAtOnce(t *testing.T) {
	t.Parallel()
	lives := 200
	if testing.Short() {
		lives = 16
	}
	img := fixture.Busybox(t, fixture.Engine(t, ctor.Config{}))
	var g errgroup.Group
	g.SetLimit(8)
	for range lives {
		g.Go(func() error { return life(t, img, "true") })
	}
	require.NoError(t, g.Wait())
}

// life is a whole one.
func life(t testing.TB, img *image.Image, args ...string) error {
	c, err := img.Run(t.Context(), container.Config{Args: args})
	if err != nil {
		return err
	}
	if err := c.Wait(t.Context()); err != nil {
		return fmt.Errorf("%w; %w", err, c.Close())
	}
	return c.Close()
}
