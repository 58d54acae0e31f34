package whole

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// A New that runs out of descriptors, whichever step lacks one, keeps neither its
// name nor anything else once there are some again, and the root is in order.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	require.NoError(t, e.Close())
	out, err := fixture.Program("scarce", root).Output()
	require.NoError(t, err, "%s", out)

	// A program that has no descriptor again until its end says that it leaves
	// something, and the next one removes it.
	for range 2 {
		out, err = fixture.Program("scarce", root, "to the end").Output()
		require.NoError(t, err, "%s", out)
	}
	e = fixture.Engine(t, ctor.Config{Root: root})
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
	fixture.Remains{"images": {"ctor.test/busybox:1"}}.Same(t, func() fixture.Remains {
		r := fixture.Count(t, e)
		delete(r, "snapshots")
		return r
	})
	upper, err := os.ReadDir(filepath.Join(root, "state/layers"))
	require.NoError(t, err)
	require.Empty(t, upper)
}

// helpScarce makes containers with no descriptor to spare, then one, and so on;
// or with none until the engine is closed.
func helpScarce(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	c, err := img.New(ctx, container.Config{Args: []string{"true"}}) // what stays open is open
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	// Its files go after that, by descriptors that would be free again later.
	for len(fixture.Left(args[0])) > 0 {
		time.Sleep(time.Millisecond)
	}
	cfg := container.Config{Name: "x", Args: []string{"true"}}
	if len(args) > 1 {
		scarce(0, func() {
			if _, err = img.New(ctx, cfg); err != nil {
				err = e.Close()
			}
		})
		if !errors.Is(err, unix.EMFILE) {
			return fmt.Errorf("close: %w", err)
		}
		return nil
	}
	for free := range 24 {
		var failed error
		scarce(free, func() { c, failed = img.New(ctx, cfg) })
		if failed != nil {
			if c, err = img.New(ctx, cfg); err != nil {
				return fmt.Errorf("with %d descriptors: %w, then with all: %w", free, failed, err)
			}
		}
		if err := c.Close(); err != nil {
			return fmt.Errorf("with %d descriptors: %w", free, err)
		}
	}
	return e.Close()
}

// scarce calls f with as many descriptors as given left to open.
func scarce(free int, f func()) {
	var old unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &old)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: old.Max})
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	var all []*os.File
	defer func() {
		for _, g := range all {
			g.Close()
		}
	}()
	for g, err := os.Open(os.DevNull); err == nil; g, err = os.Open(os.DevNull) {
		all = append(all, g)
	}
	for range free {
		all[len(all)-1].Close()
		all = all[:len(all)-1]
	}
	if free == 0 { // nor one that is closed in the background meanwhile
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max})
	}
	f()
}

// What can't be removed is owed: it goes as soon as it can, and an engine that is
// closed before says what it leaves, to the next. The container is gone all the same.
func TestOwed(t *testing.T) {
	t.Parallel()
	for _, detach := range []bool{false, true} {
		t.Run(fmt.Sprint("detach=", detach), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			cfg := container.Config{Name: "c", Args: []string{"sleep", "1000"}, Detach: detach}
			begin := func() (e *ctor.Engine, img *image.Image, stuck string) {
				e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
				require.NoError(t, err)
				img = fixture.Busybox(t, e)
				c, err := img.Run(t.Context(), cfg)
				require.NoError(t, err)
				live := filepath.Join(root, "containers/ctor", c.ID())
				require.NoError(t, os.Mkdir(filepath.Join(live, "stuck"), 0o700))
				require.NoError(t, unix.Mount("tmpfs", filepath.Join(live, "stuck"), "tmpfs", 0, ""))
				stuck = filepath.Join(root, "containers-removed", c.ID(), "stuck")
				t.Cleanup(func() { _ = unix.Unmount(stuck, 0) })
				require.NoError(t, c.Close())
				require.NoDirExists(t, live)
				require.DirExists(t, stuck)
				return e, img, stuck
			}
			e, img, stuck := begin()
			for range 2 {
				c, err := img.New(t.Context(), cfg)
				require.NoError(t, err)
				require.NoError(t, c.Close())
				_ = unix.Unmount(stuck, 0) // the first time
			}
			require.Eventually(t, func() bool {
				_, err := os.Stat(stuck)
				return errors.Is(err, os.ErrNotExist)
			}, fixture.Patience, time.Millisecond)
			require.NoError(t, e.Close(), "nothing is left")

			e, _, stuck = begin()
			require.ErrorIs(t, e.Close(), unix.EBUSY)
			require.NoError(t, unix.Unmount(stuck, 0))
			e = fixture.Engine(t, ctor.Config{Root: root})
			require.NoDirExists(t, filepath.Dir(stuck))
			require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
		})
	}
}
