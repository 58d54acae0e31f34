package container_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// logs is what a container's log has now.
func logs(t testing.TB, c *container.Container) string {
	t.Helper()
	r, err := c.Logs(t.Context(), nil)
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// follow reads a container's log as it grows.
func follow(t testing.TB, c *container.Container) io.ReadCloser {
	t.Helper()
	r, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// says waits for a line in a container's log.
func says(t testing.TB, c *container.Container, line string) {
	t.Helper()
	r := follow(t, c)
	defer r.Close()
	s := bufio.NewScanner(r)
	for s.Scan() {
		if strings.TrimSpace(s.Text()) == line {
			return
		}
	}
	require.NoError(t, s.Err())
	require.Fail(t, "the container ended without saying "+line, logs(t, c))
}

const count = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done"

// Eight followers from before the start, and one that comes late, see every
// byte and then the end.
func TestFollow(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), sh(count+"; echo -n end"))
	require.NoError(t, err)
	defer c.Close()
	var g errgroup.Group
	texts := make([]string, 9)
	read := func(i int, r io.Reader) {
		g.Go(func() error {
			b, err := io.ReadAll(r)
			texts[i] = string(b)
			return err
		})
	}
	for i := range 8 {
		read(i, follow(t, c))
	}
	require.NoError(t, c.Start(t.Context()))
	says(t, c, "line 100")
	read(8, follow(t, c))
	require.NoError(t, g.Wait())
	require.NoError(t, c.Wait(t.Context()))
	require.True(t, strings.HasSuffix(texts[0], "line 499\nend"))
	for _, text := range texts {
		require.Equal(t, texts[0], text)
	}
	require.Equal(t, texts[0], logs(t, c))
	after, err := io.ReadAll(follow(t, c))
	require.NoError(t, err)
	require.Equal(t, texts[0], string(after))
}

// The end of the engine is told to each of many readers as such, though it ends
// what they wait for as well, and by itself.
func TestFollowClosed(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	img := fixture.Busybox(t, e)
	ends := make(chan error, 100)
	for _, detach := range []bool{false, true} {
		cfg := sh("sleep 1000")
		cfg.Detach = detach
		c, err := img.Run(t.Context(), cfg)
		require.NoError(t, err)
		for range cap(ends) / 2 {
			r := follow(t, c)
			go func() {
				_, err := io.ReadAll(r)
				ends <- err
			}()
		}
	}
	require.NoError(t, e.Close())
	for range cap(ends) {
		require.ErrorIs(t, <-ends, ctor.ErrClosed)
	}
	list, err := container.List(t.Context(), reopen(t, root))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, list[0].Close())
}

// Readers choose streams, lines and times, of what an attached container and a
// detached one wrote.
func TestLogOptions(t *testing.T) {
	t.Parallel()
	for _, detach := range []bool{false, true} {
		// Each line after the one before is in the log: two streams have no order
		// among each other but by time.
		seen := t.TempDir()
		cfg := sh("until_seen() { until [ -e /seen/$1 ]; do sleep 0.01; done; }; " +
			"echo one; until_seen one; echo two >&2; until_seen two; echo three; until_seen three; echo -n four")
		cfg.Detach, cfg.Mounts = detach, []container.Mount{{Source: seen, Target: "/seen"}}
		c := containertest.Run(t, busybox(t), cfg)
		for _, line := range []string{"one", "two", "three"} {
			says(t, c, line)
			require.NoError(t, os.WriteFile(filepath.Join(seen, line), nil, 0o600))
		}
		require.NoError(t, c.Wait(t.Context()))
		text := func(o container.LogOptions) string {
			r, err := c.Logs(t.Context(), &o)
			require.NoError(t, err)
			defer r.Close()
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			return string(b)
		}
		require.Equal(t, "one\ntwo\nthree\nfour", text(container.LogOptions{}))
		require.Equal(t, "one\nthree\nfour", text(container.LogOptions{Stdout: true}))
		require.Equal(t, "two\n", text(container.LogOptions{Stderr: true}))
		require.Equal(t, "three\nfour", text(container.LogOptions{Tail: 2}))
		require.Equal(t, "one\nthree\nfour", text(container.LogOptions{Tail: 3, Stdout: true}))
		require.Empty(t, text(container.LogOptions{Tail: -1, Follow: true}))

		var last time.Time
		var lines []string
		for line := range strings.Lines(text(container.LogOptions{Timestamps: true})) {
			stamp, rest, _ := strings.Cut(line, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			require.NoError(t, err)
			require.WithinRange(t, at, last, time.Now())
			require.Equal(t, time.UTC, at.Location())
			lines = append(lines, rest)
			if last = at; rest == "three\n" {
				require.Equal(t, "three\nfour", text(container.LogOptions{Since: at}))
				require.Equal(t, "four", text(container.LogOptions{Since: at.Add(1)}))
			}
		}
		require.Equal(t, []string{"one\n", "two\n", "three\n", "four"}, lines)
		require.Empty(t, text(container.LogOptions{Since: time.Now()}))
	}
}

// An image's labels don't say where a log goes, or what program gets it: that
// was a way to run programs on the host (CVE-2026-53488).
func TestLogLabels(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	trap := filepath.Join(t.TempDir(), "trap")
	bait := map[string]string{}
	for _, name := range []string{"nerdctl/log-uri", "nerdctl/log-config", "containerd.io/restart.loguri", "ctor-log", "io.ctor.log", "log"} {
		bait[name] = "binary:///bin/busybox?touch=" + trap
	}
	img, err := image.New(t.Context(), e, "ctor.test/labels:1", ocispec.ImageConfig{
		Env: []string{"PATH=/bin"}, Labels: bait, Volumes: map[string]struct{}{trap: {}},
	}, fixture.BusyboxLayer(t))
	require.NoError(t, err)
	for _, detach := range []bool{false, true} {
		cfg := sh("echo hello; sleep 1000") // the task of one that has ended goes by itself
		cfg.Detach = detach
		c := containertest.Run(t, img, cfg)
		says(t, c, "hello")
		require.Equal(t, "hello\n", logs(t, c))
		task, err := e.Containerd().TaskService().Get(e.Context(t.Context()), &api.GetRequest{ContainerID: c.ID()})
		require.NoError(t, err)
		for _, out := range []string{task.Process.Stdout, task.Process.Stderr} {
			u, err := url.Parse(out)
			require.NoError(t, err)
			if detach {
				require.Equal(t, filepath.Join(e.Root(), "containers", "ctor", c.ID(), "log"), u.Path)
			} else {
				require.Empty(t, u.Scheme, "a pipe")
			}
		}
	}
	require.NoFileExists(t, trap)
}

func TestLogsNow(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), sh("echo ready; cat /dev/zero | head -c 0; sleep 100"))
	require.NoError(t, err)
	defer c.Close()
	require.Empty(t, logs(t, c))
	require.NoError(t, c.Start(t.Context()))
	says(t, c, "ready")
	require.Equal(t, "ready\n", logs(t, c))
}

// A follower that goes away, or whose ctx ends, ends at once and hurts nobody.
func TestFollowerLeaves(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; sleep 100"))

	r := follow(t, c)
	_, err := r.Read(make([]byte, 100))
	require.NoError(t, err)
	ended := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-ended, os.ErrClosed)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrClosed)

	ctx, cancel := context.WithCancel(t.Context())
	r, err = c.Logs(ctx, &container.LogOptions{Follow: true})
	require.NoError(t, err)
	defer r.Close()
	cancel()
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.Logs(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFollowUntilClose(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; sleep 100"))
	r := follow(t, c)
	require.NoError(t, c.Close())
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "ready\n", string(b))
	_, err = c.Logs(t.Context(), nil)
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

func TestFollowUntilEngineCloses(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	c, err := fixture.Busybox(t, e).Run(t.Context(), sh("echo ready; sleep 100"))
	require.NoError(t, err)
	says(t, c, "ready")
	var g errgroup.Group
	r := follow(t, c)
	g.Go(func() error {
		_, err := io.ReadAll(r)
		if errors.Is(err, ctor.ErrClosed) {
			return nil // or it has seen the container's end before
		}
		return err
	})
	require.NoError(t, e.Close())
	require.NoError(t, g.Wait())
	_, err = c.Logs(t.Context(), nil)
	require.ErrorIs(t, err, ctor.ErrClosed)
}

// More followers than the host has inotify instances for.
func TestManyFollowers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("300 followers")
	}
	r, w := io.Pipe()
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"cat"}, Stdin: r})
	var g errgroup.Group
	for range 300 {
		f := follow(t, c)
		g.Go(func() error {
			b, err := io.ReadAll(f)
			if err == nil && string(b) != "hello" {
				err = io.ErrUnexpectedEOF
			}
			return err
		})
	}
	_, err := w.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, g.Wait())
}
