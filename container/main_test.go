package container_test

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// The test binary is also the programs that are killed in tests.
func TestMain(m *testing.M) {
	fixture.RunProgram(asPrograms())
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Containers are waited for more than they compute.
		_ = flag.Set(f.Name, strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	os.Exit(m.Run())
}

// busybox is the image of most tests, in the engine they share.
func busybox(t testing.TB) *image.Image {
	return fixture.Busybox(t, containertest.Engine(t))
}

// sh is a Config that runs a script.
func sh(script string) container.Config {
	return container.Config{Args: []string{"sh", "-c", script}}
}

// output runs a container to its end and gives what it wrote, which is what
// its log has as well.
func output(t testing.TB, img *image.Image, cfg container.Config) (stdout, stderr string, err error) {
	t.Helper()
	var out, eout bytes.Buffer
	cfg.Stdout, cfg.Stderr = &out, &eout
	c := containertest.Run(t, img, cfg)
	err = c.Wait(t.Context())
	require.Len(t, logs(t, c), out.Len()+eout.Len())
	return out.String(), eout.String(), err
}

// stdout is what a container writes that ends well.
func stdout(t testing.TB, img *image.Image, cfg container.Config) string {
	t.Helper()
	out, eout, err := output(t, img, cfg)
	require.NoError(t, err, eout)
	require.Empty(t, eout)
	return out
}

// start runs a container that is in no hurry, and waits until it says so.
func start(t testing.TB, img *image.Image, cfg container.Config) *container.Container {
	t.Helper()
	c := containertest.Run(t, img, cfg)
	says(t, c, "ready")
	return c
}

// info is what a container says of itself.
func info(t testing.TB, c *container.Container) container.Info {
	t.Helper()
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	return i
}
