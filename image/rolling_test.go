package image_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	waist "github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
)

// generations are more than lie on each other.
const generations = 20

// counts adds a line to a file, so that it has one for each life.
var counts = []string{"sh", "-c", "echo x >> /all; echo ready; test ! -e /stay || sleep 1000"}

// A state is forked under one name again and again: by an instance of the last state, by
// one container in life after life, or by one that goes on.
func TestForkRolling(t *testing.T) {
	t.Parallel()
	for how, roll := range map[string]func(t *testing.T, e *ctor.Engine, base *image.Image, fork func(*container.Container, int) *image.Image){
		"instances": func(t *testing.T, _ *ctor.Engine, img *image.Image, fork func(*container.Container, int) *image.Image) {
			for n := range generations {
				c := containertest.Run(t, img, container.Config{Args: counts})
				require.NoError(t, c.Wait(t.Context()))
				img = fork(c, n+1)
				require.NoError(t, c.Close())
			}
		},
		"lives": func(t *testing.T, _ *ctor.Engine, base *image.Image, fork func(*container.Container, int) *image.Image) {
			c := containertest.Run(t, base, container.Config{Args: counts})
			for n := range generations {
				require.NoError(t, c.Wait(t.Context()))
				f := fork(c, n+1)
				require.Equal(t, f.Digest().String(), info(t, c).Image)
				require.Empty(t, changes(t, c))
				require.NoError(t, c.Start(t.Context()))
			}
		},
		"alternate": func(t *testing.T, _ *ctor.Engine, base *image.Image, fork func(*container.Container, int) *image.Image) {
			var two []*container.Container
			for range 2 {
				c := containertest.Run(t, base, container.Config{Args: counts})
				require.NoError(t, c.Wait(t.Context()))
				two = append(two, c)
			}
			for range 4 {
				for _, c := range two {
					fork(c, 1)
				}
			}
		},
		"goes on": func(t *testing.T, e *ctor.Engine, base *image.Image, fork func(*container.Container, int) *image.Image) {
			first, err := base.New(t.Context(), container.Config{})
			require.NoError(t, err)
			require.NoError(t, first.FS().WriteFile("stay", nil, 0o644))
			img := fork(first, 0)
			require.NoError(t, first.Close())
			c := containertest.Run(t, img, container.Config{Args: counts})
			require.NoError(t, c.WaitReady(t.Context(), container.Log("ready", 1)))
			for range generations {
				fork(c, 1)
				require.Equal(t, container.Running, info(t, c).State)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			base := fixture.Busybox(t, e)
			roll(t, e, base, func(c *container.Container, lines int) *image.Image {
				t.Helper()
				f, err := image.Fork(t.Context(), c, "state")
				require.NoError(t, err)
				require.LessOrEqual(t, len(f.Spec().RootFS.DiffIDs), 17, "the base and sixteen")
				collect(t, e)
				now, err := image.Get(t.Context(), e, "state")
				require.NoError(t, err)
				require.Equal(t, f.Digest(), now.Digest())
				tree, err := now.FS(t.Context())
				require.NoError(t, err)
				defer func() { require.NoError(t, tree.Close()) }()
				all, err := tree.ReadFile("all")
				if lines > 0 {
					require.NoError(t, err)
				}
				require.Equal(t, strings.Repeat("x\n", lines), string(all))
				return f
			})
			for _, c := range listed(t, e) {
				require.NoError(t, c.Close())
			}
			f, err := image.Get(t.Context(), e, "state")
			require.NoError(t, err)
			require.NoError(t, f.Remove(t.Context()))
			require.NoError(t, base.Remove(t.Context()))
			collect(t, e)
			r := remains(t, e)
			require.Empty(t, r["content"], "what lay between is gone")
			require.Empty(t, r["snapshots"])
			require.Empty(t, r["leases"])
		})
	}
}

// So it is with Commit.
func TestCommitRolling(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	first, err := image.Commit(t.Context(), c, "state", nil)
	require.NoError(t, err)
	c = containertest.Run(t, first, container.Config{Args: []string{"sh", "-c", "echo ready; sleep 1000"}})
	require.NoError(t, c.WaitReady(t.Context(), container.Log("ready", 1)))
	for n := range 3 {
		require.NoError(t, c.FS().WriteFile(fmt.Sprint("n", n), nil, 0o644))
		_, err := image.Commit(t.Context(), c, "state", nil)
		require.NoError(t, err)
		collect(t, e)
	}
	now, err := image.Get(t.Context(), e, "state")
	require.NoError(t, err)
	_, err = files(t, now).Stat("n2")
	require.NoError(t, err)
}

// What FS writes while the layer is handed over is the container's, or the image's, or
// fails: nothing gets into an image that is made, and nothing is lost.
func TestForkWhileFS(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	require.NoError(t, c.FS().Mkdir("w", 0o755))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var written []string
	wg.Go(func() {
		for n := 0; n < 2000; n++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprint("w/", n)
			if err := c.FS().WriteFile(name, []byte("x"), 0o644); err == nil {
				written = append(written, name)
			} else if !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
				return
			}
		}
	})
	tree := func(i *image.Image) (names []string) {
		list, err := files(t, i).ReadDir("w")
		require.NoError(t, err)
		for _, f := range list {
			names = append(names, f.Name())
		}
		return names
	}
	var forks []*image.Image
	var trees [][]string
	for n := range generations { // the last are squashed
		f, err := image.Fork(t.Context(), c, fmt.Sprint("fork:", n))
		require.NoError(t, err)
		forks, trees = append(forks, f), append(trees, tree(f))
	}
	close(stop)
	wg.Wait()
	for n, f := range forks {
		require.Equal(t, trees[n], tree(f), n)
	}
	list, err := c.FS().ReadDir("w")
	require.NoError(t, err)
	for _, name := range written {
		require.True(t, slices.ContainsFunc(list, func(f fs.DirEntry) bool { return "w/"+f.Name() == name }), name)
	}
	require.NotEmpty(t, written)
}

// copying tells whether a layer is being copied.
func copying(t testing.TB, e *ctor.Engine) (is bool) {
	t.Helper()
	err := e.Containerd().SnapshotService("overlayfs").Walk(e.Context(context.WithoutCancel(t.Context())), func(_ context.Context, i snapshots.Info) error {
		is = is || strings.HasPrefix(i.Name, "fork-")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return is
}

// A copy ends with its ctx and with the container, and leaves nothing.
func TestForkEnds(t *testing.T) {
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	many := "mkdir /d; i=0; while [ $i -lt 20000 ]; do : > /d/$i; i=$((i+1)); done; echo ready; sleep 1000"
	for how, end := range map[string]func(c *container.Container, cancel func()) error{
		"ctx":   func(_ *container.Container, cancel func()) error { cancel(); return nil },
		"Close": func(c *container.Container, _ func()) error { return c.Close() },
	} {
		t.Run(how, func(t *testing.T) {
			c, err := base.Run(t.Context(), container.Config{Args: []string{"sh", "-c", many}})
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			require.NoError(t, c.WaitReady(t.Context(), container.Log("ready", 1)))
			before := remains(t, e)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				for !copying(t, e) && ctx.Err() == nil {
				}
				ended <- end(c, cancel)
			}()
			_, err = image.Fork(ctx, c, "cut")
			if how == "ctx" {
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, container.Running, info(t, c).State)
				before.Same(t, func() fixture.Remains { return remains(t, e) })
			} else {
				require.ErrorIs(t, err, ctor.ErrNotFound)
				require.ErrorContains(t, err, "it is closed")
			}
			require.NoError(t, <-ended)
			require.False(t, copying(t, e))
			_, err = image.Get(t.Context(), e, "cut")
			require.ErrorIs(t, err, ctor.ErrNotFound)
		})
	}
}

// What keeps a container's image goes with the container, also when that is gone already,
// or the program was killed.
func TestOriginGoes(t *testing.T) {
	t.Parallel()
	e := open(t)
	in, ctx := waist.Of(e), e.Context(t.Context())
	base := fixture.Busybox(t, e)
	require.NoError(t, containertest.Run(t, base, container.Config{Args: []string{"true"}}).Close()) // it is unpacked
	unchanged(t, e, func() {
		require.ErrorIs(t, in.KeepOrigin(ctx, "gone", base.Digest().String()), ctor.ErrNotFound)
	})
	unchanged(t, e, func() {
		_, err := e.Containerd().LeasesService().Create(ctx, leases.WithID("ctor-origin-killed"), leases.WithLabel("io.ctor.origin", "killed"))
		require.NoError(t, err)
		require.NoError(t, in.Sweep(ctx))
	})
	unchanged(t, e, func() {
		c, err := base.New(t.Context(), container.Config{Keep: true})
		require.NoError(t, err)
		require.NoError(t, in.KeepOrigin(ctx, c.ID(), base.Digest().String()))
		require.NoError(t, c.Remove(t.Context()))
	})
}
