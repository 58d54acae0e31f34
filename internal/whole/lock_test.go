package whole

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestLockedByThisProcess(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	_, err := ctor.Open(t.Context(), ctor.Config{Root: e.Root()})
	require.ErrorIs(t, err, ctor.ErrLocked)
	require.EqualError(t, err, fmt.Sprintf("open engine: %s: root is locked by process %d (this one)", e.Root(), os.Getpid()))
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"), "the engine that has it is none the worse")
	require.NoError(t, e.Close())
	fixture.Engine(t, ctor.Config{Root: e.Root()})
}

func TestLockedByAnotherProcess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	h := fixture.Start(t, fixture.Program("hold", root))
	_, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.ErrorIs(t, err, ctor.ErrLocked)
	require.EqualError(t, err, fmt.Sprintf("open engine: %s: root is locked by process %d (exe)", root, h.Process.Pid))
	h.End(t)
	fixture.Engine(t, ctor.Config{Root: root})
}

// The file does not lock, whatever it says.
func TestStaleLock(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "a dead process": "4194304\n", "a live one": fmt.Sprintln(os.Getppid()), "noise": "\x00\xff junk",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(root, "lock"), []byte(text), 0o600))
			fixture.Engine(t, ctor.Config{Root: root})
		})
	}
}

// Attached containers of all namespaces end with a killed program, detached
// ones go on.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root})
	ref := fixture.Busybox(t, e).Ref()
	require.NoError(t, e.Close())
	h := fixture.Start(t, fixture.Program("hold", root, ref, "attached", "detached"))
	h.Kill(t)

	other := fixture.Engine(t, ctor.Config{Root: root, Namespace: "other"})
	require.NoError(t, other.Close())
	e = fixture.Engine(t, ctor.Config{Root: root})
	_, err := container.Get(t.Context(), e, "attached")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	c, err := container.Get(t.Context(), e, "detached")
	require.NoError(t, err)
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Running, i.State)
	require.NoError(t, c.Close())
	fixture.Remains{"images": {ref}, "snapshots": fixture.Count(t, e)["snapshots"]}.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}
