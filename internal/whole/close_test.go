package whole

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
}

func TestCloseAtOnce(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	_, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			// Each returns when all is done, not only the first.
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if left := fixture.Host(t, e.Root()); len(left) > 0 {
				t.Error(left)
			}
		})
	}
	wg.Wait()
}

func TestClosed(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	c, err := img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"image.Get":      func() error { _, err := image.Get(ctx, e, "a"); return err },
		"image.List":     func() error { _, err := image.List(ctx, e); return err },
		"image.Pull":     func() error { _, err := image.Pull(ctx, e, "127.0.0.1:1/a", nil); return err },
		"image.Import":   func() error { _, err := image.Import(ctx, e, strings.NewReader("")); return err },
		"image.Export":   func() error { return image.Export(ctx, io.Discard, img) },
		"image.New":      func() error { _, err := image.New(ctx, e, "a", ocispec.ImageConfig{}); return err },
		"image.Commit":   func() error { _, err := image.Commit(ctx, c, "a", nil); return err },
		"Image.Tag":      func() error { _, err := img.Tag(ctx, "a"); return err },
		"Image.Derive":   func() error { _, err := img.Derive(ctx, "a", nil); return err },
		"Image.Remove":   func() error { return img.Remove(ctx) },
		"Image.New":      func() error { _, err := img.New(ctx, container.Config{}); return err },
		"Image.Run":      func() error { _, err := img.Run(ctx, container.Config{}); return err },
		"Image.Push":     func() error { return img.Push(ctx, "127.0.0.1:1/a", nil) },
		"Image.Layers":   func() error { _, err := img.Layers(ctx); return err },
		"container.Get":  func() error { _, err := container.Get(ctx, e, c.ID()); return err },
		"container.List": func() error { _, err := container.List(ctx, e); return err },
		"Container.Info": func() error { _, err := c.Info(ctx); return err },
		"Container.Stop": func() error { return c.Stop(ctx) },
		"Container.Logs": func() error { _, err := c.Logs(ctx, nil); return err },
	} {
		require.ErrorIs(t, call(), ctor.ErrClosed, name)
	}
	require.NoError(t, c.Close(), "there is nothing left to do")
	_, err = e.Containerd().ImageService().List(e.Context(ctx))
	require.Error(t, err)
}

// prompt is more than any of it should take, and less than waiting for
// somebody else would.
const prompt = 20 * time.Second

// hanging gives a registry that never answers, and tells when it was asked.
func hanging(t *testing.T) (*registrytest.Server, <-chan struct{}) {
	asked := make(chan struct{}, 10)
	return registrytest.NewServer(t, &registrytest.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			registrytest.Hang(next).ServeHTTP(w, r)
		})
	}}), asked
}

// Calls that are under way end when Close begins.
func TestCloseUnderWay(t *testing.T) {
	t.Parallel()
	s, asked := hanging(t)
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	c, err := img.Run(t.Context(), container.Config{Args: []string{"sh", "-c", "echo one; sleep 1000"}})
	require.NoError(t, err)
	detached, err := img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}, Detach: true})
	require.NoError(t, err)
	logs, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
	require.NoError(t, err)
	defer logs.Close()
	first := make([]byte, 4)
	_, err = io.ReadFull(logs, first)
	require.NoError(t, err)

	errs := map[string]chan error{}
	for name, call := range map[string]func() error{
		"pull":          func() error { _, err := image.Pull(t.Context(), e, s.Host+"/a", nil); return err },
		"wait detached": func() error { return detached.Wait(t.Context()) },
		"follow logs":   func() error { _, err := io.ReadAll(logs); return err },
	} {
		ended := make(chan error, 1)
		errs[name] = ended
		go func() { ended <- call() }()
	}
	attached := make(chan error, 1)
	go func() { attached <- c.Wait(t.Context()) }()
	<-asked
	begin := time.Now()
	require.NoError(t, e.Close())
	require.Less(t, time.Since(begin), prompt)
	for name, err := range errs {
		// The log of what Close has killed may have come to its end before.
		if err := <-err; name != "follow logs" || err != nil {
			require.ErrorIs(t, err, ctor.ErrClosed, name)
		}
	}
	require.Error(t, <-attached)

	e = fixture.Engine(t, ctor.Config{Root: e.Root()})
	detached, err = container.Get(t.Context(), e, detached.ID())
	require.NoError(t, err)
	require.NoError(t, detached.Close())
}

// What ends first, the context or the engine, is what the error says.
func TestCancelUnderWay(t *testing.T) {
	t.Parallel()
	s, asked := hanging(t)
	e := fixture.Engine(t, ctor.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := image.Pull(ctx, e, s.Host+"/a", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ctor.ErrClosed)
	require.Empty(t, fixture.Count(t, e))
}

// Not parallel: it counts the whole process's goroutines and files.
func TestCloseLeaksNothing(t *testing.T) {
	root := t.TempDir()
	life := func() {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		_, _ = e.Containerd().Subscribe(e.Context(context.Background())) // nobody reads it
		c, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
		require.NoError(t, err)
		logs, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
		require.NoError(t, err)
		require.NoError(t, e.Close())
		require.NoError(t, logs.Close())
	}
	life() // what is made once for the process
	before := fixture.Measure(t)
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		life()
	}
	before.Same(t)
	require.Empty(t, traceless(t, root))
}

// Nothing of a detached container's shim stays in the program when it is killed.
// Not parallel, likewise.
func TestDeadShimLeaksNothing(t *testing.T) {
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	life := func() {
		c, err := img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}, Detach: true})
		require.NoError(t, err)
		shims := fixture.Shims(e.Root())
		require.Len(t, shims, 1)
		pid, err := strconv.Atoi(filepath.Base(shims[0]))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.ErrorIs(t, c.Wait(t.Context()), ctor.ErrUnavailable)
		require.NoError(t, c.Close())
	}
	life()
	// The collector closes what nobody did. (In the test above that is containerd's
	// own: the content store leaves a file open when it is made.)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := fixture.Measure(t)
	for range 5 {
		life()
	}
	before.Same(t)
	require.Zero(t, zombies("/proc/self"))
}

// traceless gives what is left of a root but for its one image.
func traceless(t *testing.T, root string) []string {
	var left []string
	for _, s := range traces(t, root) {
		if !strings.HasPrefix(s, "sha256 ") && s != "snapshots a snapshot" {
			left = append(left, s)
		}
	}
	return left
}

// A deletion just before Close is carried out on the disk as well.
func TestCloseCollects(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	img := fixture.Busybox(t, e)
	c, err := img.New(t.Context(), container.Config{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	ctx := e.Context(t.Context())
	require.NoError(t, e.Containerd().ImageService().Delete(ctx, img.Ref()))
	require.NoError(t, e.Close())
	require.Empty(t, traces(t, e.Root()))
}
