package whole

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/containerd/log"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
)

// helpQuiet opens, runs and closes.
func helpQuiet(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, args[1])
	if err != nil {
		return err
	}
	for _, cfg := range []container.Config{{}, {Detach: true}} {
		cfg.Args = []string{"true"}
		c, err := img.Run(ctx, cfg)
		if err != nil {
			return err
		}
		if !cfg.Detach {
			if err := c.Wait(ctx); err != nil {
				return err
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	if _, err := image.Pull(ctx, e, "127.0.0.1:1/nobody", &image.PullOptions{Registry: &registry.Options{Retries: -1}}); err == nil {
		return os.ErrInvalid
	}
	return e.Close()
}

// A program's standard error, and its output, are its own.
func TestQuiet(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
	require.NoError(t, e.Close())
	cmd := fixture.Program("quiet", e.Root(), "ctor.test/busybox:1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	require.Empty(t, out.String())
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	e := fixture.Engine(t, ctor.Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	log.G(e.Context(t.Context())).WithField("key", "value").Warn("said through containerd")
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
	require.NoError(t, e.Close())
	require.Contains(t, out.String(), `level=WARN msg="said through containerd" component=containerd key=value`)
	require.Contains(t, out.String(), "level=DEBUG")
	require.NotContains(t, out.String(), "level=ERROR")
}
