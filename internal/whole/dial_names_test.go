package whole

import (
	"errors"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/engine"
)

// names are one program's for all that use a containerd.
func (d *dialed) names(t *testing.T) {
	other := dial(t, d.socket, d.root)
	otherImg, err := image.Get(t.Context(), other, d.img.Ref())
	require.NoError(t, err)
	all := make(chan *container.Container, 8)
	var g errgroup.Group
	for i := range cap(all) {
		img := []*image.Image{d.img, otherImg}[i%2]
		g.Go(func() error {
			c, err := img.New(t.Context(), container.Config{Name: "wanted", Detach: i%4 < 2})
			if err == nil {
				all <- c
				return nil
			}
			if !errors.Is(err, ctor.ErrAlreadyExists) {
				return err
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, all, 1)
	c := <-all
	require.NoError(t, c.Rename(t.Context(), "renamed"))
	for _, e := range []*ctor.Engine{d.e, other} {
		for _, name := range []string{"renamed", c.ID()} {
			found, err := container.Get(t.Context(), e, name)
			require.NoError(t, err)
			require.Equal(t, "renamed", found.Name())
		}
		_, err := container.Get(t.Context(), e, "wanted")
		require.ErrorIs(t, err, ctor.ErrNotFound)
	}

	// What a program leaves that is killed while it renames.
	_, err = other.Containerd().LeasesService().Create(other.Context(t.Context()), leases.WithID("ctor.name.next"),
		leases.WithLabels(map[string]string{"io.ctor.name": c.ID(), engine.OwnerLabel: deadOwner}))
	require.NoError(t, err)
	_, err = container.Get(t.Context(), other, "next")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	next := dial(t, d.socket, d.root)
	found, err := container.Get(t.Context(), next, "renamed")
	require.NoError(t, err, "the container stays")
	require.NoError(t, found.Rename(t.Context(), "next"))
	require.NoError(t, next.Close())
	require.NoError(t, c.Close())
	d.same(t)
	require.NoError(t, other.Close())
}
