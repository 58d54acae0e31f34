package volume_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/volume"
)

// fills is a program that starts containers with new volumes until it is killed.
func fills(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, stockedRef)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		m := container.Mount{Type: container.Volume, Source: fmt.Sprintf("%s-%d", args[1], n), Target: "/data"}
		cfg := sh("true", m, container.Mount{Type: container.Volume, Target: "/data/many"})
		c, err := img.New(ctx, cfg)
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
}

// A program that is killed, at any moment, leaves no volume that looks whole and is
// not, and nothing else.
func TestKilled(t *testing.T) {
	root := t.TempDir()
	open := func() *ctor.Engine {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		return e
	}
	e := open()
	stocked(t, e)
	require.NoError(t, e.Close())
	for round := range 5 {
		p := fixture.Start(t, fixture.Program("fills", root, fmt.Sprint("v", round)))
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond) // no state: any moment will do
		p.Kill(t)
		e = open()
		left, err := filepath.Glob(filepath.Join(root, "volumes/ctor/.*"))
		require.NoError(t, err)
		require.Empty(t, left)
		list, err := volume.List(t.Context(), e)
		require.NoError(t, err)
		img := stocked(t, e)
		for _, v := range list[max(0, len(list)-3):] {
			out := run(t, img, sh("ls /data/many | wc -l; cat /data/many/* | wc -c; cat /data/owned", v.Mount("/data")))
			require.Equal(t, fmt.Sprintf("%d\n%d\nby the image\n", manyFiles, manyFiles*5000), out)
		}
		for _, v := range list {
			require.NoError(t, v.Remove(t.Context()))
		}
		require.NoError(t, e.Close())
		require.Empty(t, fixture.Host(t, root))
	}
}

// leaves is a program that leaves a detached container with a volume behind.
func leaves(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, stockedRef)
	if err != nil {
		return err
	}
	cfg := sh("echo x > /data/new; echo x > /own/file; sleep 1000", container.Mount{Type: container.Volume, Source: "shared", Target: "/data"},
		container.Mount{Type: container.Volume, Target: "/own"})
	cfg.Name, cfg.Detach = "left", true
	cfg.Ready = container.File("/own/file")
	if _, err := img.Run(ctx, cfg); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// A volume in a container that outlives its program is in use for the next one, which
// finds what is in it.
func TestOutlives(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	stocked(t, e)
	require.NoError(t, e.Close())
	p := fixture.Start(t, fixture.Program("leaves", e.Root()))
	p.Kill(t)
	e = fixture.Engine(t, ctor.Config{Root: e.Root()})
	v, err := volume.Get(t.Context(), e, "shared")
	require.NoError(t, err)
	require.ErrorIs(t, v.Remove(t.Context()), volume.ErrInUse)
	b, err := v.FS().ReadFile("new")
	require.NoError(t, err)
	require.Equal(t, "x\n", string(b))
	c := fixture.Running(t, e, "left")
	b, err = c.FS().ReadFile("own/file")
	require.NoError(t, err)
	require.Equal(t, "x\n", string(b))
	require.NoError(t, c.Close())
	_, err = v.FS().ReadFile("new")
	require.NoError(t, err)
	require.NoError(t, v.Remove(t.Context()))
}
