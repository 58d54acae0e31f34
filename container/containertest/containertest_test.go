package containertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// fake is a test that its owner ends, and that may fail.
type fake struct {
	testing.TB
	failed  bool
	log     strings.Builder
	cleanup []func()
}

func (f *fake) Helper()                   {}
func (f *fake) Failed() bool              { return f.failed }
func (f *fake) Cleanup(c func())          { f.cleanup = append(f.cleanup, c) }
func (f *fake) Logf(s string, a ...any)   { fmt.Fprintf(&f.log, s, a...) }
func (f *fake) Errorf(s string, a ...any) { f.failed = true; f.Logf(s, a...) }

func (f *fake) end() {
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
}

// One engine for all who use it at a time; the last one ends it, and its root.
func TestEngine(t *testing.T) {
	one, two := &fake{TB: t}, &fake{TB: t}
	e := containertest.Engine(one)
	require.Same(t, e, containertest.Engine(two))
	one.end()
	_, err := container.List(t.Context(), e)
	require.NoError(t, err)
	two.end()
	_, err = container.List(t.Context(), e)
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.NoDirExists(t, e.Root())
	require.Equal(t, os.TempDir(), filepath.Dir(e.Root()))
	require.NotSame(t, e, containertest.Engine(t))
}

func TestRun(t *testing.T) {
	img := fixture.Busybox(t, containertest.Engine(t))
	for _, failed := range []bool{false, true} {
		f := &fake{TB: t, failed: failed}
		c := containertest.Run(f, img, container.Config{Args: []string{"sh", "-c", "yes | head -n 100000; echo the end"}})
		require.NoError(t, c.Wait(t.Context()))
		f.end()
		_, err := c.Info(t.Context())
		require.ErrorIs(t, err, ctor.ErrNotFound)
		if !failed {
			require.Empty(t, f.log.String())
			continue
		}
		require.True(t, strings.HasSuffix(f.log.String(), "y\nthe end\n"))
		require.Less(t, f.log.Len(), 66<<10)
	}
}
