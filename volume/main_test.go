package volume_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/volume"
)

// The test binary is also the programs that end, or are killed, in tests.
func TestMain(m *testing.M) {
	fixture.RunProgram(map[string]func([]string) error{"fills": fills, "leaves": leaves})
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Containers are waited for more than they compute.
		_ = flag.Set(f.Name, strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	os.Exit(m.Run())
}

// manyFiles is how many the image of stocked has in /data, beside "owned".
const manyFiles = 300

const stockedRef = "ctor.test/stocked:1"

// stocked is an image with files where volumes are mounted.
func stocked(t testing.TB, e *ctor.Engine) *image.Image {
	t.Helper()
	if i, err := image.Get(t.Context(), e, stockedRef); err == nil {
		return i
	}
	root := fstest.MapFS{
		"data":         {Mode: os.ModeDir | 0o700},
		"data/owned":   {Data: []byte("by the image\n"), Mode: 0o640},
		"etc/one-file": {Data: []byte("x"), Mode: 0o644},
		"short":        {Data: []byte("data"), Mode: os.ModeSymlink | 0o777},
		"outside":      {Data: []byte("/../../../etc"), Mode: os.ModeSymlink | 0o777},
	}
	for n := range manyFiles {
		root[fmt.Sprintf("data/many/%d", n)] = &fstest.MapFile{Data: []byte(strings.Repeat("x", 5000)), Mode: 0o644}
	}
	i, err := fixture.Busybox(t, e).Derive(t.Context(), stockedRef, nil, layer.FromFS(root, nil))
	require.NoError(t, err)
	return i
}

// declaring is stocked with volumes of its own.
func declaring(t testing.TB, e *ctor.Engine, volumes ...string) *image.Image {
	t.Helper()
	ref := "ctor.test/" + strings.ToLower(strings.NewReplacer("/", "-", "#", "-", "_", "-", "'", "").Replace(t.Name()))
	i, err := stocked(t, e).Derive(t.Context(), ref, func(cfg *ocispec.ImageConfig) {
		cfg.Volumes = map[string]struct{}{}
		for _, v := range volumes {
			cfg.Volumes[v] = struct{}{}
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Remove(context.Background()) })
	return i
}

// create makes a volume that ends with the test.
func create(t testing.TB, e *ctor.Engine, name string) *volume.Volume {
	t.Helper()
	v, err := volume.New(t.Context(), e, name, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Remove(context.Background()) })
	return v
}

func sh(script string, mounts ...container.Mount) container.Config {
	return container.Config{Args: []string{"sh", "-c", script}, Mounts: mounts}
}

// run runs a container to its end and gives what it wrote.
func run(t testing.TB, img *image.Image, cfg container.Config) string {
	t.Helper()
	var out, eout bytes.Buffer
	cfg.Stdout, cfg.Stderr = &out, &eout
	c := containertest.Run(t, img, cfg)
	require.NoError(t, c.Wait(t.Context()), eout.String())
	require.NoError(t, c.Close())
	return out.String()
}
