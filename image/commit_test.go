package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

var sleeping = container.Config{Args: []string{"/bin/sleep", "1000"}}

// changed is a container that has changed things and ended.
func changed(t testing.TB, img *image.Image) *container.Container {
	t.Helper()
	c := containertest.Run(t, img, container.Config{
		Args:   []string{"/bin/sh", "-c", "echo new >/new.txt; rm /etc/group; rm -r /home; mkdir /home; echo in memory >/mem/x"},
		Mounts: []container.Mount{{Type: container.Tmpfs, Target: "/mem"}},
	})
	require.NoError(t, c.Wait(t.Context()))
	return c
}

func names(t testing.TB, l layer.Layer) (names []string) {
	t.Helper()
	tr := tar.NewReader(bytes.NewReader(read(t, l)))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		names = append(names, h.Name)
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	c := changed(t, base)
	img, err := image.Commit(t.Context(), c, "committed", &image.CommitOptions{
		Author: "me", Message: "made by hand",
		Edit: func(c *ocispec.ImageConfig) { c.Cmd = []string{"cat", "/new.txt"} },
	})
	require.NoError(t, err)
	require.Equal(t, "docker.io/library/committed:latest", img.Ref())
	require.Equal(t, "new\n", output(t, img))
	require.Equal(t, "gone\n", output(t, img, "sh", "-c", "test -e /etc/group || test -e /home/app || test -e /mem/x || echo gone"))

	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.Len(t, layers, 2)
	found := names(t, layers[1])
	require.Contains(t, found, "new.txt")
	require.Contains(t, found, "etc/.wh.group", "%v", found)
	require.False(t, slices.Contains(found, "mem/x"))
	spec := img.Spec()
	last := spec.History[len(spec.History)-1]
	require.Equal(t, "me", spec.Author)
	require.Equal(t, "made by hand", last.Comment)
	require.Equal(t, spec.Created, last.Created)
	require.NotEqual(t, base.Spec().Config.Cmd, spec.Config.Cmd)
	require.NoError(t, c.Close())
	collect(t, e)
	r := remains(t, e)
	require.Len(t, r["snapshots"], 4, "two layers, and the containers of output")
	require.Empty(t, r["leases"])
	require.Empty(t, r["mounts"])
	require.Empty(t, r["ingest files"])
}

// A container of an image with Docker's types.
func TestCommitDockerImage(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	list, err := image.Import(t.Context(), e, stream(dockerArchive(t, []string{"docker-base"}, read(t, fixture.BusyboxLayer(t)))))
	require.NoError(t, err)
	img, err := image.Commit(t.Context(), changed(t, list[0]), "docker-committed", nil)
	require.NoError(t, err)
	require.Equal(t, "new\n", output(t, img, "/bin/cat", "/new.txt"))
}

func state(t testing.TB, c *container.Container) container.State {
	t.Helper()
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	return i.State
}

// A running container stands still meanwhile, and goes on, come what may.
func TestCommitPauses(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	c := containertest.Run(t, base, sleeping)
	for _, noPause := range []bool{false, true} {
		var meanwhile container.State
		_, err := image.Commit(t.Context(), c, "paused", &image.CommitOptions{NoPause: noPause, Edit: func(*ocispec.ImageConfig) {
			meanwhile = state(t, c)
		}})
		require.NoError(t, err)
		require.Equal(t, map[bool]container.State{false: container.Paused, true: container.Running}[noPause], meanwhile)
		require.Equal(t, container.Running, state(t, c))
	}
	unchanged(t, e, func() {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := image.Commit(ctx, c, "too-late", &image.CommitOptions{Edit: func(*ocispec.ImageConfig) { cancel() }})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, `commit container "`+c.ID()+`" as "too-late": `)
		require.Equal(t, container.Running, state(t, c))
	})
	// Whom somebody else has paused stays paused.
	require.NoError(t, c.Pause(t.Context()))
	_, err := image.Commit(t.Context(), c, "paused", nil)
	require.NoError(t, err)
	require.Equal(t, container.Paused, state(t, c))
	require.NoError(t, c.Resume(t.Context()))
}

func TestCommitFails(t *testing.T) {
	t.Parallel()
	e := open(t)
	img, err := fixture.Busybox(t, e).Derive(t.Context(), "short-lived", nil, text("x", "x"))
	require.NoError(t, err)
	c := containertest.Run(t, img, sleeping)
	_, err = image.Commit(t.Context(), c, "UPPER", nil)
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.NoError(t, img.Remove(t.Context()))
	unchanged(t, e, func() {
		_, err = image.Commit(t.Context(), c, "orphan", nil)
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.ErrorContains(t, err, "its image docker.io/library/short-lived:latest is gone")
		require.Equal(t, container.Running, state(t, c))
	})
	require.NoError(t, c.Close())
	_, err = image.Commit(t.Context(), c, "closed", nil)
	require.True(t, errors.Is(err, ctor.ErrNotFound), "%v", err)
}
