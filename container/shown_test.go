package container_test

import (
	"context"
	"embed"
	"os"
	"testing"
	"testing/fstest"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

//go:embed doc.go
var embedded embed.FS

// dataImage is an image of data alone, of two layers.
func dataImage(t *testing.T, e *ctor.Engine, ref string) *image.Image {
	t.Helper()
	img, err := image.New(t.Context(), e, ref, ocispec.ImageConfig{},
		layer.FromFS(fstest.MapFS{"a": {Data: []byte("old\n")}, "dir/b": {Data: []byte("b\n"), Mode: 0o640}}, nil),
		layer.FromFS(fstest.MapFS{"a": {Data: []byte("new\n")}}, nil))
	require.NoError(t, err)
	return img
}

// An image is a mount that can't be written to, in whatever user namespace, and its
// layers stay as long as the container.
func TestImageMount(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	e := containertest.Engine(t)
	for name, security := range map[string]container.Security{"host": {}, "own users": {UserNS: true}, "hardened": container.Hardened()} {
		t.Run(name, func(t *testing.T) {
			img := dataImage(t, e, "ctor.test/data-"+itoa(len(name))+":1")
			cfg := secured("cat /data/a /data/dir/b; stat -c '%u %a' /data/dir/b; (echo x >/data/a) 2>/dev/null || echo refused; echo ready; sleep 1000", security)
			if security.ReadOnly {
				cfg.Security.CapAdd = []string{"DAC_OVERRIDE"} // the file is another's, and 640
			}
			one := busybox(t) // of one layer
			cfg.Mounts = []container.Mount{img.Mount("/data"), one.Mount("/tools")}
			c := start(t, busybox(t), cfg)
			require.Equal(t, "new\nb\n0 640\nrefused\nready\n", logs(t, c))
			out, err := c.Command(t.Context(), "sh", "-c", "/tools/bin/busybox echo ran").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.NoError(t, img.Remove(t.Context()))
			require.NoError(t, c.Stop(t.Context()))
			require.NoError(t, c.Start(t.Context()))
			out, err = c.Command(t.Context(), "cat", "/data/a").Output()
			require.NoError(t, err)
			require.Equal(t, "new\n", string(out))
			require.NoError(t, c.Remove(t.Context()))
			require.NoError(t, e.Containerd().SnapshotService(e.Snapshotter()).Walk(namespaces.WithNamespace(t.Context(), "ctor"), func(_ context.Context, i snapshots.Info) error {
				require.NotContains(t, i.Name, c.ID())
				return nil
			}))
		})
	}
}

func TestFilesMount(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	cfg := secured("head -c 7 /src/doc.go; stat -c '%u %a' /src/doc.go; (echo x >/src/doc.go) 2>/dev/null || echo refused; cat /conf/x/y", container.Hardened())
	cfg.Mounts = []container.Mount{
		{Type: container.Files, FS: embedded, Target: "/src"},
		{Type: container.Files, FS: os.DirFS(t.TempDir()), Target: "/empty"},
		{Type: container.Files, FS: fstest.MapFS{"x/y": {Data: []byte("y\n"), Mode: 0o644}}, Target: "/conf"},
	}
	require.Equal(t, "// Pack0 444\nrefused\ny\n", stdout(t, busybox(t), cfg))
}

// A kept container has its images and files in the next program too.
func TestMountsAreKept(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	cfg := secured("cat /data/a /conf/y", container.Security{UserNS: true})
	cfg.Keep = true
	cfg.Mounts = []container.Mount{dataImage(t, e, "ctor.test/data:1").Mount("/data"), {Type: container.Files, FS: fstest.MapFS{"y": {Data: []byte("y\n"), Mode: 0o644}}, Target: "/conf"}}
	c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, e.Close())

	e, err = ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	c, err = container.Get(t.Context(), e, c.ID())
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "new\ny\nnew\ny\n", logs(t, c))
	require.NoError(t, c.Remove(t.Context()))
}
