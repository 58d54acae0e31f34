package container_test

import (
	"context"
	"strings"
	"testing"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// The first containers of an image, all at once, unpack it once.
func TestUnpackOnce(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	prepared, errs := e.Containerd().Subscribe(e.Context(ctx), `topic=="/snapshot/prepare"`)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			c, err := img.New(t.Context(), container.Config{})
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	require.NoError(t, g.Wait())
	_, err := e.Containerd().SnapshotService(e.Snapshotter()).Prepare(e.Context(ctx), "last", "")
	require.NoError(t, err)
	unpacked := 0
	for {
		select {
		case event := <-prepared:
			v, err := typeurl.UnmarshalAny(event.Event)
			require.NoError(t, err)
			switch key := v.(*eventsapi.SnapshotPrepare).Key; {
			case strings.HasPrefix(key, "extract-"):
				unpacked++
			case key == "last":
				require.Equal(t, 1, unpacked)
				return
			}
		case err := <-errs:
			require.NoError(t, err)
		}
	}
}
