package whole

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// helpWork does everything that leaves traces, several things at a time, until
// it is killed.
func helpWork(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0], Snapshotter: args[1]})
	if err != nil {
		return err
	}
	base, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, work := range []func(n int) error{
		func(int) error {
			img, err := image.Pull(ctx, e, args[2], &image.PullOptions{Policy: image.PullAlways})
			if err != nil {
				return err
			}
			return img.Remove(ctx)
		},
		func(n int) error { return runAndClose(ctx, base, fmt.Sprint("attached", n), false) },
		func(n int) error { return runAndClose(ctx, base, fmt.Sprint("detached", n), true) },
		func(n int) error { return deriveAndCommit(ctx, base, n) },
	} {
		go func() {
			for n := 0; ; n++ {
				if err := work(n); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	go func() { ready(); os.Exit(0) }() // the test has ended before us
	return <-failed
}

func runAndClose(ctx context.Context, img *image.Image, name string, detach bool) error {
	c, err := img.Run(ctx, container.Config{Name: name, Args: []string{"sleep", "1000"}, Detach: detach})
	if err != nil {
		return err
	}
	return c.Close()
}

func deriveAndCommit(ctx context.Context, base *image.Image, n int) error {
	img, err := base.Derive(ctx, "derived:"+fmt.Sprint(n), nil, layer.FromFS(fstest.MapFS{"n": {Data: fmt.Append(nil, n)}}, nil))
	if err != nil {
		return err
	}
	f, err := img.FS(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadFile("n"); err != nil {
		return err
	}
	c, err := img.New(ctx, container.Config{Name: fmt.Sprint("committed", n)})
	if err != nil {
		return err
	}
	if err := c.FS().WriteFile("n", nil, 0); err != nil {
		return err
	}
	if _, err := image.Commit(ctx, c, "committed", nil); err != nil {
		return err
	}
	return errors.Join(c.Close(), img.Remove(ctx))
}

// What a program killed at any moment leaves, the next Open undoes.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, s := range []struct {
		snapshotter string
		kills       int
	}{{"overlayfs", 24}, {"native", 6}} {
		t.Run(s.snapshotter, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			ref := push(t)
			e, err := ctor.Open(t.Context(), ctor.Config{Root: root, Snapshotter: s.snapshotter})
			require.NoError(t, err)
			require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi"))
			require.NoError(t, e.Close())
			before := traces(t, root)
			start := time.Now()
			for range s.kills {
				if time.Since(start) > 20*time.Second {
					break // a race detector's time is another
				}
				h := fixture.Start(t, fixture.Program("work", root, s.snapshotter, ref))
				moment := time.Duration(rand.IntN(500)) * time.Millisecond
				t.Logf("killed after %v", moment)
				<-time.After(moment)
				h.Kill(t)
				e, err := ctor.Open(t.Context(), ctor.Config{Root: root, Snapshotter: s.snapshotter})
				require.NoError(t, err)
				tidy(t, e)
				require.Equal(t, "hi\n", fixture.Echo(t, e, "attached0", "hi"))
				require.NoError(t, e.Close())
				require.Equal(t, before, traces(t, root))
			}
		})
	}
}

// push gives the name of an image of two layers in a registry.
func push(t *testing.T) string {
	s := registrytest.NewServer(t, nil)
	e := fixture.Engine(t, ctor.Config{})
	img, err := image.New(t.Context(), e, s.Host+"/app:1", ocispec.ImageConfig{},
		fixture.BusyboxLayer(t),
		layer.FromFS(fstest.MapFS{"big": {Data: []byte(strings.Repeat("something to fetch\n", 1<<16))}}, nil))
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", nil))
	return img.Ref()
}

// tidy removes what the killed program had finished, and so was not undone.
func tidy(t *testing.T, e *ctor.Engine) {
	containers, err := container.List(t.Context(), e)
	require.NoError(t, err)
	for _, c := range containers {
		i, err := c.Info(t.Context())
		require.NoError(t, err)
		require.True(t, i.Detached, i.ID)
		require.NoError(t, c.Close())
	}
	images, err := image.List(t.Context(), e)
	require.NoError(t, err)
	for _, i := range images {
		if i.Ref() != "ctor.test/busybox:1" {
			require.NoError(t, i.Remove(t.Context()))
		}
	}
	// What a pull had brought stays for the next one.
	ctx, m := e.Context(t.Context()), e.Containerd().LeasesService()
	cutOff, err := m.List(ctx, `labels."io.ctor.pull"`)
	require.NoError(t, err)
	for _, l := range cutOff {
		require.NoError(t, m.Delete(ctx, l, leases.SynchronousDelete))
	}
	// A detached container's logger ends a little after it.
	layers := fixture.Count(t, e)["snapshots"]
	require.Len(t, layers, 1)
	fixture.Remains{"images": {"ctor.test/busybox:1"}, "snapshots": layers}.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
	require.NoError(t, e.Containerd().ContentStore().Walk(e.Context(t.Context()), func(i content.Info) error {
		_, err := e.Containerd().ContentStore().ReaderAt(e.Context(t.Context()), ocispec.Descriptor{Digest: i.Digest, Size: i.Size})
		return err
	}))
}

// traces gives what is on the disk and in the kernel of a root that no engine
// has open: the files that come with data, and what refers to it.
func traces(t *testing.T, root string) []string {
	var found []string
	for _, pattern := range []string{
		"containerd/io.containerd.content.v1.content/blobs/sha256/*",
		"containerd/io.containerd.content.v1.content/ingest/*",
		"containerd/io.containerd.snapshotter.v1.*/snapshots/*",
		"containers/*/*", "state/tasks/bundle/*/*", "state/tasks/runc/*/*",
	} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, p := range paths {
			name := filepath.Base(p)
			if filepath.Base(filepath.Dir(p)) == "snapshots" {
				name = "a snapshot" // numbers go on
			}
			found = append(found, filepath.Base(filepath.Dir(p))+" "+name)
		}
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, root+"/") {
			found = append(found, line)
		}
	}
	require.Empty(t, fixture.Shims(root))
	require.Empty(t, fixture.Host(t, root))
	return found
}
