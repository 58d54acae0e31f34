package image_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestDiskUsage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	base := fixture.Busybox(t, e)
	baseRef := base.Ref()
	a, err := base.Derive(ctx, "a", nil, text("a", strings.Repeat("a", 100_000)))
	require.NoError(t, err)
	b, err := base.Derive(ctx, "b", nil, text("b", "b"))
	require.NoError(t, err)
	_, err = b.Tag(ctx, "b:again")
	require.NoError(t, err)
	c, err := a.New(ctx, container.Config{}) // unpacked
	require.NoError(t, err)
	defer c.Close()
	alone, err := image.New(ctx, e, "alone", ocispec.ImageConfig{}, text("x", "x"))
	require.NoError(t, err)

	u, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	by := map[string]image.ImageUsage{}
	sum := int64(0)
	for _, i := range u.Images {
		by[i.Ref] = i
		sum += i.Size
	}
	require.Len(t, by, 5)
	require.Equal(t, 1, by[a.Ref()].Used)
	require.Equal(t, 0, by[b.Ref()].Used)
	require.Equal(t, a.Index(), by[a.Ref()].Index)
	require.Zero(t, by[alone.Ref()].Shared)
	require.Equal(t, by[b.Ref()].Size, by[b.Ref()].Shared, "it has two names")
	require.Greater(t, by[a.Ref()].Size-by[a.Ref()].Shared, int64(100_000), "its own layer is unpacked")
	require.Greater(t, by[a.Ref()].Shared, int64(500_000), "busybox")
	require.Less(t, u.Total, sum)
	require.Zero(t, u.Other)
	size, err := a.Size(ctx)
	require.NoError(t, err)
	require.Equal(t, by[a.Ref()].Size, size)
	require.NotEmpty(t, by[baseRef])

	// Removal frees what is not shared.
	require.NoError(t, alone.Remove(ctx))
	after, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	require.Equal(t, by[alone.Ref()].Size, u.Total-after.Total)
	size, err = alone.Size(ctx)
	require.NoError(t, err)
	require.Zero(t, size)
}

func TestPrune(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	used, err := fixture.Busybox(t, e).Tag(ctx, "used")
	require.NoError(t, err)
	c, err := used.New(ctx, container.Config{})
	require.NoError(t, err)
	defer c.Close()
	unused, err := used.Derive(ctx, "unused", nil, text("x", strings.Repeat("x", 1000)))
	require.NoError(t, err)
	_, err = unused.Derive(ctx, "labelled", func(c *ocispec.ImageConfig) { c.Labels = map[string]string{"keep": "yes"} }, text("y", "y"))
	require.NoError(t, err)
	tree(t, unused) // unpacked
	byLabel := func(i *image.Image) bool { return i.Spec().Config.Labels["keep"] != "" }

	none, err := image.Prune(ctx, e, &image.PruneOptions{Before: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Zero(t, none)
	all, err := image.Prune(ctx, e, &image.PruneOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/labelled:latest", unused.Ref()}, all.Removed)
	before, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	dry, err := image.Prune(ctx, e, &image.PruneOptions{DryRun: true, Keep: byLabel})
	require.NoError(t, err)
	require.Equal(t, []string{unused.Ref()}, dry.Removed)
	require.Less(t, dry.Bytes, all.Bytes, "its layer is in the labelled image as well")
	got, err := image.Prune(ctx, e, &image.PruneOptions{Keep: byLabel})
	require.NoError(t, err)
	require.Equal(t, dry, got)
	after, err := image.DiskUsage(ctx, e)
	require.NoError(t, err)
	require.Equal(t, got.Bytes, before.Total-after.Total)
	require.Positive(t, got.Bytes)
	got, err = image.Prune(ctx, e, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/labelled:latest"}, got.Removed)
	require.Equal(t, all.Bytes, got.Bytes+dry.Bytes)
	_, err = image.Get(ctx, e, "used")
	require.NoError(t, err)

	// By what a container was made from, not by how that is called now.
	require.NoError(t, c.Close())
	list, err := image.List(ctx, e)
	require.NoError(t, err)
	got, err = image.Prune(ctx, e, nil)
	require.NoError(t, err)
	require.Len(t, got.Removed, len(list))
	r := remains(t, e)
	require.Empty(t, r["content"])
	require.Empty(t, r["snapshots"])
	require.Empty(t, r["leases"])
}

// What a pull that was cut off has left goes as well; what one that is under way has
// brought does not.
func TestPruneBrokenPulls(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	img, err := image.New(ctx, open(t), "made", ocispec.ImageConfig{}, text("noise", noise("noise", 200_000)), text("x", "x"))
	require.NoError(t, err)
	require.NoError(t, img.Push(ctx, ref, nil))
	unchanged(t, e, func() {
		srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(-1, 100_000)))
		_, err := image.Pull(ctx, e, ref, &image.PullOptions{Registry: &registry.Options{Retries: -1}})
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		u, err := image.DiskUsage(ctx, e)
		require.NoError(t, err)
		require.Positive(t, u.Other)
		dry, err := image.Prune(ctx, e, &image.PruneOptions{DryRun: true})
		require.NoError(t, err)
		require.Empty(t, dry.Removed)
		require.Equal(t, u.Other, dry.Bytes)
		got, err := image.Prune(ctx, e, nil)
		require.NoError(t, err)
		require.Equal(t, dry, got)
	})
	srv.SetMiddleware(nil)
	held := make(chan struct{})
	go func() {
		<-held
		_, err := image.Prune(ctx, e, nil)
		require.NoError(t, err)
		held <- struct{}{}
	}()
	_, err = image.Pull(ctx, e, ref, &image.PullOptions{Progress: func(p image.Progress) {
		if held != nil && p.Phase == image.Fetched {
			held <- struct{}{}
			<-held
			held = nil
		}
	}})
	require.NoError(t, err)
	got, err := image.Get(ctx, e, ref)
	require.NoError(t, err)
	export(t, got)
}

// Images are pulled, made and removed while others are pruned. No call fails for it.
func TestPruneMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	srv := registrytest.NewServer(t, nil)
	publish(t, srv.Host+"/app:v1", "1")
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() {
			for k := range 4 {
				if _, err := image.Pull(ctx, e, srv.Host+"/app:v1", nil); err != nil {
					t.Error(err)
				}
				if _, err := image.New(ctx, e, fmt.Sprintf("made:%d-%d", n, k), ocispec.ImageConfig{}, text("x", fmt.Sprint(n, k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		_, err := image.Prune(ctx, e, nil)
		require.NoError(t, err)
	}
	r := remains(t, e)
	require.Empty(t, r["content"])
	require.Empty(t, r["leases"])
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := image.Prune(canceled, e, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// A container that is made of an image while Prune decides on it keeps its name.
func TestPruneUsedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	base := fixture.Busybox(t, e)
	soon, err := base.Derive(ctx, "soon", nil, text("x", "x"))
	require.NoError(t, err)
	_, err = base.Derive(ctx, "unused", nil, text("y", "y"))
	require.NoError(t, err)
	var c *container.Container
	got, err := image.Prune(ctx, e, &image.PruneOptions{Keep: func(i *image.Image) bool {
		if i.Ref() == soon.Ref() {
			var err error
			c, err = i.New(ctx, container.Config{})
			require.NoError(t, err)
		}
		return i.Ref() == base.Ref()
	}})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, []string{"docker.io/library/unused:latest"}, got.Removed)
	made, err := image.Commit(ctx, c, "made", nil)
	require.NoError(t, err, "it still has its image")
	_, err = image.Get(ctx, e, "soon")
	require.NoError(t, err)
	require.NoError(t, made.Remove(ctx))
	require.NoError(t, c.Close())
	got, err = image.Prune(ctx, e, nil)
	require.NoError(t, err)
	require.Equal(t, []string{base.Ref(), soon.Ref()}, got.Removed)
	require.Empty(t, remains(t, e)["content"])
}

// A name that is given while Prune goes on stays, whatever moment that is.
func TestPruneNamedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	first, err := image.New(ctx, e, "a", ocispec.ImageConfig{}, text("a", "a"))
	require.NoError(t, err)
	for range 50 {
		_, err := first.Tag(ctx, "b")
		require.NoError(t, err)
		begun := make(chan struct{})
		pruned := make(chan error, 1)
		go func() {
			_, err := image.Prune(ctx, e, &image.PruneOptions{Keep: func(i *image.Image) bool {
				if i.Ref() == first.Ref() {
					close(begun)
					return true
				}
				return false
			}})
			pruned <- err
		}()
		<-begun
		_, err = first.Tag(ctx, "b")
		require.NoError(t, err)
		require.NoError(t, <-pruned)
		_, err = image.Get(ctx, e, "b")
		require.NoError(t, err)
	}
}

// overwrite changes the first byte of a file.
func overwrite(path string, first byte) error {
	b, err := os.ReadFile(path)
	if err == nil {
		b[0] = first
		err = os.WriteFile(path, b, 0o600)
	}
	return err
}

// What can't be read is told of, and removed if that is asked for; nothing else suffers.
func TestPruneUnreadable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for problem, fault := range map[string]func(testing.TB, string){
		"no JSON":     func(t testing.TB, path string) { require.NoError(t, os.WriteFile(path, []byte("x"), 0o600)) },
		"cut off":     faults["not "],
		"not there":   faults["it is missing"],
		"overwritten": func(t testing.TB, path string) { require.NoError(t, overwrite(path, 'x')) },
	} {
		t.Run(problem, func(t *testing.T) {
			t.Parallel()
			srv := registrytest.NewServer(t, nil)
			e := open(t)
			for _, part := range []string{"manifest", "config"} {
				ref := srv.Host + "/" + part + ":v1"
				publish(t, ref, part)
				img, err := image.Pull(ctx, e, ref, nil)
				require.NoError(t, err)
				d := img.Digest()
				if part == "config" {
					d = configOf(t, img)
				}
				fault(t, fileOf(t, e, d))
			}
			_, err := image.New(ctx, e, "whole", ocispec.ImageConfig{}, text("x", "x"))
			require.NoError(t, err)
			const whole = "docker.io/library/whole:latest"
			bad := []string{srv.Host + "/config:v1", srv.Host + "/manifest:v1"}
			for _, dry := range []bool{true, false} {
				got, err := image.Prune(ctx, e, &image.PruneOptions{DryRun: dry})
				for _, ref := range bad {
					require.ErrorContains(t, err, ref+": it can't be read, and stays")
				}
				require.NotContains(t, err.Error(), whole)
				require.Equal(t, []string{whole}, got.Removed)
			}
			for _, dry := range []bool{true, false} {
				got, err := image.Prune(ctx, e, &image.PruneOptions{Unreadable: true, DryRun: dry, Keep: func(*image.Image) bool { return true }})
				require.NoError(t, err)
				require.Equal(t, bad, got.Removed)
			}
			r := remains(t, e)
			require.Empty(t, r["content"])
			require.Empty(t, r["leases"])
		})
	}
}
