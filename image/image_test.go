package image_test

import (
	"bytes"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

func TestFirst(t *testing.T) {
	e := containertest.Engine(t)
	bb, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err)
	img, err := image.New(t.Context(), e, "busybox", ocispec.ImageConfig{Cmd: []string{"/bin/busybox", "echo", "hello"}},
		layer.FromFS(fstest.MapFS{"bin/busybox": {Data: bb, Mode: 0755 | fs.ModePerm}}, nil))
	require.NoError(t, err)
	var out bytes.Buffer
	c, err := img.Run(t.Context(), container.Config{Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "hello\n", out.String())
	require.NoError(t, c.Close())
}
