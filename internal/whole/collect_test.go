package whole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// What a call has found in the store is there until the call is done with it,
// however much is collected meanwhile: images are run, committed, derived,
// tagged, looked into, exported, pushed, removed and pulled, each under names
// that nobody else has, so that nothing may ever be missing. For longer:
// go test -run TestCollect -count=20
func TestCollect(t *testing.T) {
	t.Parallel()
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	e := fixture.Engine(t, ctor.Config{})
	srv := registrytest.NewServer(t, nil)
	base := fixture.BusyboxLayer(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	collected := make(chan error, 1)
	go func() { collected <- collect(ctx, e) }()
	var users errgroup.Group
	for n := range 3 {
		u := user{e: e, name: fmt.Sprint("ctor.test/user", n), remote: fmt.Sprint(srv.Host, "/user", n)}
		users.Go(func() error {
			for round := range rounds {
				if err := u.round(t.Context(), round, base); err != nil {
					return fmt.Errorf("round %d: %w", round, err)
				}
			}
			return nil
		})
	}
	err := users.Wait()
	stop()
	require.NoError(t, errors.Join(err, <-collected))
}

// collect collects garbage, again and again, until ctx ends.
func collect(ctx context.Context, e *ctor.Engine) error {
	m := e.Containerd().LeasesService()
	for ctx.Err() == nil {
		own := e.Context(context.Background())
		l, err := m.Create(own, leases.WithRandomID())
		if err == nil {
			err = m.Delete(own, l, leases.SynchronousDelete)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// user uses images under names of its own.
type user struct {
	e            *ctor.Engine
	name, remote string
}

// round makes an image anew, every third time, and has it go through everything.
func (u user) round(ctx context.Context, round int, base layer.Layer) (err error) {
	var i *image.Image
	if round%3 == 0 {
		i, err = image.New(ctx, u.e, u.name, ocispec.ImageConfig{}, base)
	} else {
		i, err = image.Get(ctx, u.e, u.name)
	}
	for _, step := range []func(context.Context, *image.Image) (*image.Image, error){
		u.commit, u.commit, u.derive, u.commit, u.look, u.pull, u.commit,
	} {
		if err == nil {
			i, err = step(ctx, i)
		}
	}
	return err
}

// commit makes an instance write, and the image of it the name's.
func (u user) commit(ctx context.Context, i *image.Image) (*image.Image, error) {
	c, err := i.Run(ctx, container.Config{Args: []string{"/bin/sh", "-c", "echo more >> /log"}})
	if err != nil {
		return nil, err
	}
	if err = c.Wait(ctx); err == nil {
		i, err = image.Commit(ctx, c, u.name, nil)
	}
	return i, errors.Join(err, c.Close())
}

// derive gives the name to an image by way of another name.
func (u user) derive(ctx context.Context, i *image.Image) (*image.Image, error) {
	next, err := i.Derive(ctx, u.name+"-next", nil, fixture.Files(map[string]string{"derived": "yes"}))
	if err != nil {
		return nil, err
	}
	if i, err = next.Tag(ctx, u.name); err != nil {
		return nil, err
	}
	return i, next.Remove(ctx)
}

func (u user) look(ctx context.Context, i *image.Image) (*image.Image, error) {
	files, err := i.FS(ctx)
	if err != nil {
		return nil, err
	}
	_, err = files.ReadFile("log")
	return i, errors.Join(err, files.Close(), image.Export(ctx, io.Discard, i))
}

// pull sends the image away and gets it back.
func (u user) pull(ctx context.Context, i *image.Image) (*image.Image, error) {
	if err := i.Push(ctx, u.remote, nil); err != nil {
		return nil, err
	}
	if err := i.Remove(ctx); err != nil {
		return nil, err
	}
	back, err := image.Pull(ctx, u.e, u.remote, nil)
	if err != nil {
		return nil, err
	}
	if i, err = back.Tag(ctx, u.name); err != nil {
		return nil, err
	}
	return i, back.Remove(ctx)
}
