package image_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// seen is what changed leaves, as a container of an image of it sees it.
const seen = "cat /new.txt; test -e /etc/group || test -e /home/app || test -e /mem/x || echo gone"

// changes are a container's.
func changes(t testing.TB, c *container.Container) (all []string) {
	t.Helper()
	for ch, err := range c.Changes(t.Context()) {
		require.NoError(t, err)
		all = append(all, fmt.Sprint(ch.Kind, " ", ch.Path))
	}
	return all
}

// An attached container that has ended hands its layer over, and goes on above it.
func TestForkOfEnded(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	before := info(t, c)
	f, err := image.Fork(t.Context(), c, "forked")
	require.NoError(t, err)
	require.Equal(t, "docker.io/library/forked:latest", f.Ref())
	require.Equal(t, "new\ngone\n", output(t, f, "sh", "-c", seen))
	now := info(t, c)
	require.NotEqual(t, before.Image, now.Image)
	require.Equal(t, f.Digest().String(), now.Image)
	require.Equal(t, f.Ref(), now.ImageRef)
	require.Empty(t, changes(t, c), "all of them are the image's")

	// It goes on by itself, and no child sees that, nor any child another.
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.FS().WriteFile("mine", []byte("x"), 0o644))
	require.Equal(t, "new\n", output(t, f, "sh", "-c", "test ! -e /mine && cat /new.txt && echo other > /new.txt"))
	require.Equal(t, "new\ngone\n", output(t, f, "sh", "-c", seen))
	require.Contains(t, changes(t, c), "added /mine")

	// A commit of it has the fork below.
	committed, err := image.Commit(t.Context(), c, "committed", nil)
	require.NoError(t, err)
	require.Equal(t, "new\ngone\nx", output(t, committed, "sh", "-c", seen+"; cat /mine"))
	require.NoError(t, c.Close())
	for _, i := range []*image.Image{f, committed} {
		require.NoError(t, i.Remove(t.Context()))
	}
	for _, c := range listed(t, e) {
		require.NoError(t, c.Close())
	}
	collect(t, e)
	r := remains(t, e)
	require.Len(t, r["snapshots"], 1, "%v", r["snapshots"])
	require.Empty(t, r["leases"])
	require.Empty(t, r["mounts"])
}

func listed(t testing.TB, e *ctor.Engine) []*container.Container {
	t.Helper()
	all, err := container.List(t.Context(), e)
	require.NoError(t, err)
	return all
}

func info(t testing.TB, c *container.Container) container.Info {
	t.Helper()
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	return i
}

// One that runs, is kept, has a bound of its disk, or was not started, is copied, and stays what it was.
func TestForkOfOthers(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	script := "mkfifo /fifo; ln -s nowhere /link; echo one > /file; ln /file /hard; rm /etc/group; rm -r /home; mkdir /home; echo ready; sleep 1000"
	for what, cfg := range map[string]container.Config{
		"runs": {Args: []string{"sh", "-c", script}},
		"kept": {Args: []string{"sh", "-c", script}, Keep: true},
	} {
		t.Run(what, func(t *testing.T) {
			c := containertest.Run(t, base, cfg)
			require.NoError(t, c.WaitReady(t.Context(), container.Log("ready", 1)))
			if cfg.Keep {
				cfg.StopTimeout = -1
				require.NoError(t, c.Signal(t.Context(), unix.SIGKILL))
				require.Error(t, c.Wait(t.Context()))
				defer func() { require.NoError(t, c.Remove(t.Context())) }()
			}
			before := info(t, c)
			f, err := image.Fork(t.Context(), c, "forked-"+what)
			require.NoError(t, err)
			now := info(t, c)
			require.Equal(t, before.State, now.State)
			require.Equal(t, before.Image, now.Image)
			require.Contains(t, changes(t, c), "added /file")
			require.NoError(t, c.FS().WriteFile("file", []byte("two\n"), 0o644))
			require.Equal(t, "one\none\nnowhere\nfifo\ngone\n", output(t, f, "sh", "-c",
				"cat /file /hard; readlink /link; test -p /fifo && echo fifo; test -e /etc/group || test -e /home/app || echo gone; test /file -ef /hard"))
		})
	}
	// The bound of a disk is that of a layer.
	bounded := containertest.Run(t, base, container.Config{Args: []string{"sh", "-c", "echo one > /file"}, Limits: container.Limits{Disk: 64 << 20}})
	require.NoError(t, bounded.Wait(t.Context()))
	before := info(t, bounded)
	f, err := image.Fork(t.Context(), bounded, "bounded")
	require.NoError(t, err)
	require.Equal(t, before.Image, info(t, bounded).Image)
	require.Equal(t, "one\n", output(t, f, "cat", "/file"))

	c, err := base.New(t.Context(), container.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, c.FS().WriteFile("file", []byte("early\n"), 0o644))
	f, err = image.Fork(t.Context(), c, "early")
	require.NoError(t, err)
	require.Equal(t, "early\n", output(t, f, "cat", "/file"))
}

// What leaves the engine is packed, once, and is a usual image.
func TestForkLeaves(t *testing.T) {
	t.Parallel()
	e := open(t)
	base := fixture.Busybox(t, e)
	f, err := image.Fork(t.Context(), changed(t, base), "forked")
	require.NoError(t, err)
	derived, err := f.Derive(t.Context(), "derived", nil, text("more", "more\n"))
	require.NoError(t, err)
	require.Equal(t, "more\nnew\ngone\n", output(t, derived, "sh", "-c", "cat /more;"+seen))

	layers, err := derived.Layers(t.Context())
	require.NoError(t, err)
	require.Len(t, layers, 3)
	found := names(t, layers[1])
	require.Contains(t, found, "new.txt")
	require.Contains(t, found, "etc/.wh.group")
	require.NotContains(t, found, "mem/x")
	require.NotContains(t, found, "etc/hostname")

	archive := export(t, f)
	require.Equal(t, archive, export(t, f), "packed once")
	other := open(t)
	list, err := image.Import(t.Context(), other, bytes.NewReader(archive))
	require.NoError(t, err)
	require.Equal(t, "new\ngone\n", output(t, list[0], "sh", "-c", seen))

	// Another engine can't pull what has no blob.
	_, err = image.Pull(t.Context(), other, publishes(t, e)+"/forked", nil)
	require.ErrorIs(t, err, ctor.ErrNotFound)

	for what, make := range map[string]func() (*image.Image, error){
		"squashed": func() (*image.Image, error) { return derived.Squash(t.Context(), "squashed") },
		"recompressed": func() (*image.Image, error) {
			return derived.Recompress(t.Context(), "zstd", layer.Compression{Format: layer.Zstd})
		},
	} {
		made, err := make()
		require.NoError(t, err, what)
		require.Equal(t, "more\nnew\ngone\n", output(t, made, "sh", "-c", "cat /more;"+seen), what)
	}

	s := registrytest.NewServer(t, nil)
	require.NoError(t, derived.Push(t.Context(), s.Host+"/derived:1", nil))
	pulled, err := image.Pull(t.Context(), other, s.Host+"/derived:1", nil)
	require.NoError(t, err)
	require.Equal(t, "more\nnew\ngone\n", output(t, pulled, "sh", "-c", "cat /more;"+seen))
	require.Equal(t, "new\ngone\n", output(t, f, "sh", "-c", seen))

	// An index lists it packed.
	theirs, err := image.Import(t.Context(), e, stream(layoutOf(t, "app:theirs", rawImage(t, foreign, nil, tarOf(t, file("x", "theirs"))))))
	require.NoError(t, err)
	both, err := image.Index(t.Context(), e, "app:both", theirs[0], f)
	require.NoError(t, err)
	require.NoError(t, both.Push(t.Context(), s.Host+"/both:1", &image.PushOptions{All: true}))
	pulled, err = image.Pull(t.Context(), other, s.Host+"/both:1", nil)
	require.NoError(t, err)
	require.Equal(t, both.Index(), pulled.Index())
	require.Equal(t, "new\ngone\n", output(t, pulled, "sh", "-c", seen))
}

// A later engine has it, with its files. The layer of a fork is none to any other.
func TestForkStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root})
	c := changed(t, fixture.Busybox(t, e))
	_, err := image.Fork(t.Context(), c, "forked")
	require.NoError(t, err)
	require.NoError(t, e.Close())
	e = fixture.Engine(t, ctor.Config{Root: root})
	f, err := image.Get(t.Context(), e, "forked")
	require.NoError(t, err)
	require.Equal(t, "new\ngone\n", output(t, f, "sh", "-c", seen))
}

// An image that is made of a fork keeps the fork's files, whether it was run or not.
func TestForkDerivedKeeps(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	f, err := image.Fork(t.Context(), c, "forked")
	require.NoError(t, err)
	derived, err := f.Derive(t.Context(), "derived", nil, text("more", "more\n"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, f.Remove(t.Context()))
	collect(t, e)
	require.Equal(t, "more\nnew\ngone\n", output(t, derived, "sh", "-c", "cat /more;"+seen))
}

// Generations lie on each other, up to a bound; beyond it they are one layer.
func TestForkGenerations(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := fixture.Busybox(t, e)
	const generations = 20
	var most int
	for n := range generations {
		c := containertest.Run(t, img, container.Config{Args: []string{"sh", "-c", fmt.Sprintf("echo %d >> /all; rm -f /n%d; touch /n%d", n, n-1, n)}})
		require.NoError(t, c.Wait(t.Context()))
		var err error
		img, err = image.Fork(t.Context(), c, fmt.Sprint("generation:", n))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		most = max(most, len(img.Spec().RootFS.DiffIDs))
		require.Len(t, img.Spec().History, len(img.Spec().RootFS.DiffIDs))
	}
	require.Equal(t, 17, most, "the base and sixteen")
	require.Equal(t, "20\nn19\n", output(t, img, "sh", "-c", "wc -l < /all; ls -d /n* | sed s:/::"))
}

// Forks and commits of one container take turns: each image has all that the container
// has written, and the container goes on.
func TestForkTakesTurns(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	const calls = 6
	made := make([]*image.Image, calls)
	var g errgroup.Group
	for n := range calls {
		g.Go(func() (err error) {
			if n%3 == 2 {
				made[n], err = image.Commit(t.Context(), c, fmt.Sprint("turn:", n), nil)
			} else {
				made[n], err = image.Fork(t.Context(), c, fmt.Sprint("turn:", n))
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	for n, i := range made {
		require.Equal(t, "new\ngone\n", output(t, i, "sh", "-c", seen), n)
	}
	require.Empty(t, changes(t, c))
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

// Whenever a Fork is cut off, a container that stands on the new image can have it by name.
func TestForkCutOff(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	began := time.Now()
	_, err := image.Fork(t.Context(), c, "whole")
	require.NoError(t, err)
	whole := time.Since(began)
	const rounds = 14
	for n := range rounds {
		before := info(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(n)/rounds)
		f, err := image.Fork(ctx, c, fmt.Sprint("cut:", n))
		cancel()
		now := info(t, c)
		switch got, gerr := image.Get(t.Context(), e, fmt.Sprint("cut:", n)); {
		case err == nil:
			require.NoError(t, gerr)
			require.Equal(t, f.Digest(), got.Digest())
		case gerr == nil:
			require.Equal(t, got.Digest().String(), now.Image)
		default:
			require.ErrorIs(t, gerr, ctor.ErrNotFound)
			require.Equal(t, before.Image, now.Image)
		}
	}
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

// A fork of another engine is refused, however it comes.
func TestForkFromOutside(t *testing.T) {
	t.Parallel()
	ctx, e := t.Context(), open(t)
	mark := newBlob("application/vnd.oci.image.layer.v1.ctor.fork", []byte(`{"Fork":"x"}`))
	config := ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{mark.Digest}}}
	r := rawOf(t, config, nil, mark)
	_, ref := serve(t, r)
	host := publishes(t, e)
	unchanged(t, e, func() {
		_, err := image.Pull(ctx, e, ref, nil)
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "a layer is a fork's")
		_, err = image.Import(ctx, e, bytes.NewReader(layoutOf(t, "x:1", r)))
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "a layer is a fork's")
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+host+"/v2/x/manifests/1", bytes.NewReader(r.manifest.data))
		require.NoError(t, err)
		req.Header.Set("Content-Type", r.manifest.MediaType)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		says, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(says), "a layer is a fork's")
	})
}

// Errors are Commit's.
func TestForkErrors(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	e := open(t)
	c := changed(t, fixture.Busybox(t, e))
	_, err := image.Fork(t.Context(), c, "BAD REF")
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.NoError(t, c.Close())
	_, err = image.Fork(t.Context(), c, "x")
	require.ErrorIs(t, err, ctor.ErrNotFound)

	c, err = fixture.Busybox(t, e).New(t.Context(), container.Config{Security: container.Security{UserNS: true}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = image.Fork(t.Context(), c, "x")
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "UserNS")
}

// On a file system with reflinks a copy takes no space, and no time that matters.
func TestForkReflinks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes a file system")
	}
	mkfs, err := exec.LookPath("mkfs.xfs")
	if err != nil {
		t.Skip("needs mkfs.xfs: apt-get install xfsprogs")
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, 1<<30))
	run(t, mkfs, "-q", "-m", "reflink=1", disk)
	at := filepath.Join(dir, "xfs")
	require.NoError(t, os.Mkdir(at, 0o755))
	if out, err := exec.Command("mount", "-o", "loop", disk, at).CombinedOutput(); err != nil {
		t.Skipf("the kernel mounts no XFS: %s", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() {
		// A process that another test is forking has this program's files until its execve.
		require.Eventually(t, func() bool { return unix.Unmount(at, 0) == nil }, fixture.Patience, time.Millisecond)
	})
	e := fixture.Engine(t, ctor.Config{Root: filepath.Join(at, "root")})
	c := containertest.Run(t, fixture.Busybox(t, e), container.Config{Args: []string{"sh", "-c", "head -c 200000000 /dev/urandom > /big; echo ready; sleep 1000"}})
	require.NoError(t, c.WaitReady(t.Context(), container.Log("ready", 1)))
	used := func() uint64 {
		var s unix.Statfs_t
		unix.Sync()
		require.NoError(t, unix.Statfs(at, &s))
		return (s.Blocks - s.Bfree) * uint64(s.Bsize)
	}
	before := used()
	f, err := image.Fork(t.Context(), c, "big")
	require.NoError(t, err)
	require.Less(t, used()-before, uint64(50_000_000))
	require.Equal(t, "200000000\n", output(t, f, "sh", "-c", "wc -c < /big"))
	require.NoError(t, c.Close())
	require.NoError(t, e.Close())
}
