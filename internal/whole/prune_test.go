package whole_test

import (
	"crypto/rand"
	"testing"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/network"
	"github.com/ctorhq/ctor/volume"
)

// What nothing needs goes, with a dry run that says the same before, and what is
// needed, or is to stay, does not.
func TestPrune(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	ctx := t.Context()
	run := func(cfg container.Config) *container.Container {
		t.Helper()
		c, err := img.Run(ctx, cfg)
		require.NoError(t, err)
		return c
	}
	writes := []string{"sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null"}
	for name, cfg := range map[string]container.Config{
		"kept": {Keep: true, Args: writes}, "detached": {Detach: true, Args: writes},
		"labelled": {Keep: true, Args: writes, Labels: map[string]string{"stay": "yes"}},
	} {
		cfg.Name = name
		require.NoError(t, run(cfg).Wait(ctx))
	}
	running := run(container.Config{Name: "running", Keep: true, Args: []string{"sleep", "1000"},
		Mounts: []container.Mount{{Type: container.Volume, Source: "used", Target: "/data"}}})
	looping := run(container.Config{Name: "looping", Keep: true, Args: []string{"false"}, Restart: container.Always})
	attached := run(container.Config{Name: "attached", Args: writes})
	require.NoError(t, attached.Wait(ctx))
	_, err := network.New(ctx, e, network.Config{Name: "empty"})
	require.NoError(t, err)
	_, err = volume.New(ctx, e, "free", nil)
	require.NoError(t, err)
	for name, labels := range map[string]map[string]string{"unused": nil, "labelled": {"stay": "yes"}} {
		random := make([]byte, 1<<20)
		_, _ = rand.Read(random)
		files := layer.FromFS(fstest.MapFS{"random": {Data: random}}, nil)
		_, err = image.New(ctx, e, "ctor.test/"+name+":1", ocispec.ImageConfig{Labels: labels}, files)
		require.NoError(t, err)
	}

	options := &ctor.PruneOptions{
		DryRun: true,
		Keep:   func(_ ctor.EventKind, _ string, labels map[string]string) bool { return labels["stay"] != "" },
	}
	dry, err := e.Prune(ctx, options)
	require.NoError(t, err)
	require.Equal(t, []string{"ctor.test/unused:1", "detached", "kept", "empty"}, dry.Removed)
	require.Greater(t, dry.Bytes, int64(7<<20))
	require.Less(t, dry.Bytes, int64(9<<20))
	options.DryRun, options.Before = false, time.Now().Add(-time.Hour)
	none, err := e.Prune(ctx, options)
	require.NoError(t, err)
	require.Zero(t, none, "nothing is so old")
	options.Before = time.Time{}
	done, err := e.Prune(ctx, options)
	require.NoError(t, err)
	require.Equal(t, dry, done)
	volumes, err := volume.Prune(ctx, e, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"free"}, volumes.Removed)

	list, err := container.List(ctx, e)
	require.NoError(t, err)
	var left []string
	for _, c := range list {
		left = append(left, c.Name())
	}
	require.Equal(t, []string{"attached", "labelled", "looping", "running"}, left)
	all, err := e.Prune(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"ctor.test/labelled:1", "labelled"}, all.Removed)
	for _, c := range []*container.Container{running, looping} {
		require.NoError(t, c.Remove(ctx))
	}
}
