package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// An id stays, and a name is what people call it.
func TestName(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	for _, detach := range []bool{false, true} {
		t.Run(fmt.Sprint("detached ", detach), func(t *testing.T) {
			c, err := img.New(t.Context(), container.Config{Name: "web", Args: []string{"sh", "-c", "exit 3"}, Detach: detach})
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, "web", c.Name())
			require.Regexp(t, "^[a-z2-7]{16}$", c.ID())
			finds := func(what string) {
				t.Helper()
				got, err := container.Get(t.Context(), e, what)
				require.NoError(t, err, what)
				require.Equal(t, c.ID(), got.ID())
				require.Equal(t, c.Name(), got.Name())
				require.Equal(t, c.Name(), info(t, got).Name)
			}
			finds("web")
			finds(c.ID())

			require.NoError(t, c.Rename(t.Context(), "site"))
			require.Equal(t, "site", c.Name())
			finds("site")
			finds(c.ID())
			_, err = container.Get(t.Context(), e, "web")
			require.ErrorIs(t, err, ctor.ErrNotFound)
			require.NoError(t, c.Rename(t.Context(), "site"), "it is called that")
			finds("site")

			other, err := img.New(t.Context(), container.Config{Name: "web", Detach: !detach})
			require.NoError(t, err, "the old name is free")
			defer other.Close()
			err = other.Rename(t.Context(), "site")
			require.ErrorIs(t, err, ctor.ErrAlreadyExists)
			require.EqualError(t, err, `rename container "web": the name is taken: already exists`)
			require.ErrorIs(t, other.Rename(t.Context(), c.ID()), ctor.ErrAlreadyExists, "an id is taken as well")
			_, err = img.New(t.Context(), container.Config{Name: c.ID()})
			require.ErrorIs(t, err, ctor.ErrAlreadyExists)
			for _, name := range []string{"", "a b", "../x", strings.Repeat("x", 77)} {
				require.ErrorIs(t, other.Rename(t.Context(), name), ctor.ErrInvalid, "%q", name)
			}
			require.Equal(t, "web", other.Name())

			require.NoError(t, c.Start(t.Context()))
			exit := exitOf(t, c)
			require.EqualError(t, exit, `container "site": exit code 3`)
			require.Equal(t, "site", exit.Name)
			require.NoError(t, c.Close())
			require.ErrorIs(t, c.Rename(t.Context(), "late"), ctor.ErrNotFound)
			require.NoError(t, other.Rename(t.Context(), "site"), "Close gives the name back")
			require.NoError(t, other.Close())
			require.Equal(t, []string(nil), fixture.Count(t, e)["leases"])
		})
	}
}

// One that was given no name is called by its id, and can be given one.
func TestNameless(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), container.Config{})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, c.ID(), c.Name())
	name := "named-" + c.ID()
	require.NoError(t, c.Rename(t.Context(), name))
	got, err := container.Get(t.Context(), c.Engine(), name)
	require.NoError(t, err)
	require.Same(t, c, got)
	_, err = os.Stat(filepath.Join(c.Engine().Root(), "containers", "ctor", c.ID()))
	require.NoError(t, err, "its files are its id's")
}

// Of many who want a name one gets it, whatever it is for and whichever way.
func TestRaceForRename(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	first, err := img.New(t.Context(), container.Config{}) // unpacks it
	require.NoError(t, err)
	require.NoError(t, first.Close())
	before := fixture.Count(t, e)
	var all []*container.Container
	for i := range 4 {
		c, err := img.New(t.Context(), container.Config{Name: fmt.Sprint("c", i), Detach: i == 0})
		require.NoError(t, err)
		all = append(all, c)
	}
	for round := range 20 {
		name := fmt.Sprint("prize", round)
		won := make(chan string, len(all))
		var g errgroup.Group
		for _, c := range all {
			g.Go(func() error {
				switch err := c.Rename(t.Context(), name); {
				case err == nil:
					won <- c.ID()
				case !errors.Is(err, ctor.ErrAlreadyExists):
					return err
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		require.Len(t, won, 1)
		got, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		require.Equal(t, <-won, got.ID())
	}
	// One container, many names at once: the last one stays.
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error { return all[0].Rename(t.Context(), fmt.Sprint("many", i)) })
	}
	require.NoError(t, g.Wait())
	names := 0
	for i := range 8 {
		c, err := container.Get(t.Context(), e, fmt.Sprint("many", i))
		if err == nil {
			names++
			require.Equal(t, c.Name(), all[0].Name())
		}
	}
	require.Equal(t, 1, names)
	for _, c := range all {
		require.NoError(t, c.Close())
	}
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}
