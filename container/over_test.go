package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// unpacked has the files of the busybox image in a directory of the host.
func unpacked(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	b, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/busybox"), b, 0o755))
	for _, name := range []string{"sh", "cat", "echo", "sleep"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(dir, "bin", name)))
	}
	return dir
}

// bound is a root of a directory.
func bound(dir string) []specs.Mount {
	return []specs.Mount{{Type: "bind", Source: dir, Options: []string{"rbind"}}}
}

func TestOver(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	dir := unpacked(t)
	c, err := container.Over(t.Context(), e, bound(dir), ocispec.ImageConfig{
		Env: []string{"GREETING=hello"}, Cmd: []string{"sh", "-c", "echo $GREETING >> /said; cat /put 2> /dev/null; sleep 1000"},
	}, container.Config{Name: "over"})
	require.NoError(t, err)
	require.NoError(t, c.FS().WriteFile("put", []byte("by the program"), 0o644))
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.WaitReady(t.Context(), container.Log("by the program", 1)))
	require.ErrorIs(t, changes(t, c), ctor.ErrInvalid)
	_, err = image.Commit(t.Context(), c, "ctor.test/over:1", nil)
	require.ErrorIs(t, err, ctor.ErrInvalid)
	found, err := container.Get(t.Context(), e, "over")
	require.NoError(t, err)
	require.Same(t, c, found)

	// A next life has the same files.
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	_ = c.Wait(t.Context())
	b, err := c.FS().ReadFile("said")
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(b))
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.WaitReady(t.Context(), container.Log("by the program", 1)))
	require.NoError(t, c.Close())

	// What it wrote stays.
	b, err = os.ReadFile(filepath.Join(dir, "said"))
	require.NoError(t, err)
	require.Equal(t, "hello\nhello\n", string(b))
}

func TestOverBad(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	dir := unpacked(t)
	sh := container.Config{Args: []string{"sh"}}
	for name, is := range map[string]struct {
		root  []specs.Mount
		cfg   container.Config
		class error
	}{
		"nothing":  {nil, sh, ctor.ErrInvalid},
		"relative": {bound("etc"), sh, ctor.ErrInvalid},
		"missing":  {bound(filepath.Join(dir, "nosuch")), sh, ctor.ErrNotFound},
		"file":     {bound(filepath.Join(dir, "bin/busybox")), sh, ctor.ErrInvalid},
		"detached": {bound(dir), container.Config{Args: []string{"sh"}, Detach: true}, ctor.ErrInvalid},
		"kept":     {bound(dir), container.Config{Args: []string{"sh"}, Keep: true}, ctor.ErrInvalid},
		"command":  {bound(dir), container.Config{Args: []string{"nosuch"}}, exec.ErrNotFound},
		"none":     {bound(dir), container.Config{}, ctor.ErrInvalid},
		"user":     {bound(dir), container.Config{Args: []string{"sh"}, User: "nosuch"}, ctor.ErrNotFound},
	} {
		_, err := container.Over(t.Context(), e, is.root, ocispec.ImageConfig{}, is.cfg)
		require.ErrorIs(t, err, is.class, name)
	}
}

// changes gives the error of a list of changes.
func changes(t *testing.T, c *container.Container) error {
	for _, err := range c.Changes(t.Context()) {
		if err != nil {
			return err
		}
	}
	return nil
}
