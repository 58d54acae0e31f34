package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// written is an image of our making, and its archive as a file.
func written(t *testing.T, ref string) (*image.Image, string) {
	t.Helper()
	img, err := fixture.Busybox(t, containertest.Engine(t)).Derive(t.Context(), ref,
		func(c *ocispec.ImageConfig) { c.Cmd = []string{"cat", "/hello.txt"} }, text("hello.txt", "hello\n"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, image.Export(t.Context(), f, img))
	require.NoError(t, f.Close())
	return img, path
}

// Skopeo reads what we write, and we read what it writes.
func TestSkopeo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("another program")
	}
	skopeo := tool(t, "skopeo", "skopeo")
	img, path := written(t, "example.com/team/hello:v1")
	var seen struct {
		Digest       digest.Digest
		Architecture string
		Layers       []digest.Digest
		Env          []string
	}
	require.NoError(t, json.Unmarshal([]byte(run(t, skopeo, "inspect", "oci-archive:"+path)), &seen))
	require.Equal(t, img.Digest(), seen.Digest)
	require.Equal(t, native.Architecture, seen.Architecture)
	require.Equal(t, img.Spec().Config.Env, seen.Env)
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{layers[0].Digest, layers[1].Digest}, seen.Layers)

	dir := t.TempDir()
	for _, c := range []struct{ kind, to, ref string }{
		{"docker-archive", "docker-archive:" + dir + "/d.tar:example.com/team/hello:v2", "example.com/team/hello:v2"},
		{"oci-archive", "oci-archive:" + dir + "/o.tar:example.com/team/hello:v3", "example.com/team/hello:v3"},
		{"unnamed docker-archive", "docker-archive:" + dir + "/u.tar", ""},
	} {
		run(t, skopeo, "copy", "--insecure-policy", "oci-archive:"+path, c.to)
		e := open(t)
		f, err := os.Open(filepath.Join(dir, c.kind[:1]+".tar"))
		require.NoError(t, err)
		list, err := image.Import(t.Context(), e, f)
		require.NoError(t, err, c.kind)
		require.NoError(t, f.Close())
		require.Len(t, list, 1)
		if c.ref != "" {
			require.Equal(t, c.ref, list[0].Ref())
		}
		require.Equal(t, img.Spec().RootFS, list[0].Spec().RootFS)
		require.Equal(t, "hello\n", output(t, list[0]), c.kind)

		// And what is derived from it is in order.
		more, err := list[0].Derive(t.Context(), "more", nil, text("more", "more"))
		require.NoError(t, err)
		again := filepath.Join(dir, "again.tar")
		require.NoError(t, os.WriteFile(again, export(t, more), 0o600))
		require.Contains(t, run(t, skopeo, "inspect", "oci-archive:"+again), more.Digest().String())
		run(t, skopeo, "copy", "--insecure-policy", "oci-archive:"+again, "dir:"+t.TempDir())
	}
}

// Skopeo pushes to a program, and pulls from it: all platforms of an image, too.
func TestSkopeoHandler(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("another program")
	}
	skopeo := tool(t, "skopeo", "skopeo")
	e := open(t)
	host := publishes(t, e)
	one, two := rawImage(t, native, nil, tarOf(t, file("a", "a"))), rawImage(t, foreign, nil, tarOf(t, file("b", "b")))
	both := indexOf(t, []raw{one, two}, &native, &foreign)
	path := filepath.Join(t.TempDir(), "both.tar")
	require.NoError(t, os.WriteFile(path, layoutOf(t, "both:v1", both), 0o600))
	copies := func(from, to string, flags ...string) {
		t.Helper()
		run(t, skopeo, append([]string{"copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--all", from, to}, flags...)...)
	}
	copies("oci-archive:"+path, "docker://"+host+"/team/both:v1")
	img, err := image.Get(t.Context(), e, "team/both:v1")
	require.NoError(t, err)
	require.Equal(t, both.manifest.Digest, img.Index())
	require.Equal(t, one.manifest.Digest, img.Digest())
	list, err := image.List(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, list, 1, "the index's own images are part of it")

	copies("docker://"+host+"/team/both:v1", "docker://"+host+"/ghcr.io/acme/both:v2")
	img, err = image.Get(t.Context(), e, "ghcr.io/acme/both:v2")
	require.NoError(t, err)
	require.Equal(t, both.manifest.Digest, img.Index())
	require.Contains(t, run(t, skopeo, "list-tags", "--tls-verify=false", "docker://"+host+"/team/both"), `"v1"`)

	// Docker's own formats as well.
	copies("docker://"+host+"/team/both:v1", "docker://"+host+"/team/docker:v1", "--format", "v2s2")
	img, err = image.Get(t.Context(), e, "team/docker:v1")
	require.NoError(t, err)
	require.Equal(t, native.Architecture, img.Spec().Architecture)
	run(t, skopeo, "delete", "--tls-verify=false", "docker://"+host+"/team/docker:v1")
	_, err = image.Get(t.Context(), e, "team/docker:v1")
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// Debian's containerd runs what we write. It is started here, for this test.
func TestContainerd(t *testing.T) {
	t.Parallel()
	ctr := tool(t, "ctr", "containerd")
	img, path := written(t, "example.com/team/run:v1")
	dir, socket := daemon(t)

	run(t, ctr, "-a", socket, "image", "import", path)
	require.Contains(t, run(t, ctr, "-a", socket, "image", "ls"), img.Digest().String())
	require.Equal(t, "hello\n", run(t, ctr, "-a", socket, "run", "--rm", img.Ref(), "one"))

	// Back again.
	back := filepath.Join(dir, "back.tar")
	run(t, ctr, "-a", socket, "image", "export", back, img.Ref())
	f, err := os.Open(back)
	require.NoError(t, err)
	defer f.Close()
	list, err := image.Import(t.Context(), open(t), f)
	require.NoError(t, err)
	require.Equal(t, img.Digest(), list[0].Digest())
	require.Equal(t, img.Ref(), list[0].Ref())

	dialled(t, socket)
	repaired(t, socket)
}

// repaired has a file that another namespace of the daemon has as well: no Repair of one
// namespace replaces it, and none says that it has.
func repaired(t *testing.T, socket string) {
	t.Helper()
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/shared:v1"
	publish(t, ref, "shared")
	var engines []*ctor.Engine
	for _, namespace := range []string{"mine", "theirs"} {
		e, err := ctor.Dial(t.Context(), socket, ctor.Config{Root: t.TempDir(), Namespace: namespace})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		_, err = image.Pull(t.Context(), e, ref, nil)
		require.NoError(t, err)
		engines = append(engines, e)
	}
	img, err := image.Get(t.Context(), engines[0], ref)
	require.NoError(t, err)
	d := layerOf(t, img, 0)
	path := filepath.Join(filepath.Dir(socket), "root/io.containerd.content.v1.content/blobs/sha256", d.Encoded())
	faults["its content has digest"](t, path)
	damage, err := image.Check(t.Context(), engines[0], nil)
	require.NoError(t, err)
	require.Len(t, damage, 1)
	err = image.Repair(t.Context(), engines[0], nil, damage...)
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	advice := "ctr --namespace theirs content rm " + d.String()
	require.ErrorContains(t, err, advice)
	after, err := image.Check(t.Context(), engines[0], nil)
	require.NoError(t, err)
	require.Equal(t, damage, after)

	words := strings.Fields(advice)
	run(t, tool(t, words[0], "containerd"), append([]string{"-a", socket}, words[1:]...)...)
	require.NoError(t, image.Repair(t.Context(), engines[0], nil, damage...))
	after, err = image.Check(t.Context(), engines[0], nil)
	require.NoError(t, err)
	require.Empty(t, after)
}

// dialled does with the images of a daemon what else is done in this process.
func dialled(t *testing.T, socket string) {
	t.Helper()
	e, err := ctor.Dial(t.Context(), socket, ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	srv, _, ref := published(t, containertest.Engine(t), nil)
	o := &image.PullOptions{Registry: srv.Options()}
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
	unchanged(t, e, func() {
		_, err := image.Pull(t.Context(), e, ref, o)
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "unexpected commit digest")
	})
	srv.SetMiddleware(nil)
	unchanged(t, e, func() {
		img, err := image.Pull(t.Context(), e, ref, o)
		require.NoError(t, err)
		more, err := img.Derive(t.Context(), "more", nil, text("more", "more\n"))
		require.NoError(t, err)
		list, err := image.Import(t.Context(), e, stream(export(t, more)))
		require.NoError(t, err)
		layers, err := list[0].Layers(t.Context())
		require.NoError(t, err)
		require.Equal(t, read(t, text("more", "more\n")), read(t, layers[2]))
		bad := rawImage(t, native, func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil }, tarOf(t, file("x", "x")))
		_, err = image.Import(t.Context(), e, stream(layoutOf(t, "bad:latest", bad)))
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.NoError(t, more.Remove(t.Context()))
		require.NoError(t, img.Remove(t.Context()))
	})
	// The daemon's images, as a registry.
	host := publishes(t, e)
	unchanged(t, e, func() {
		other := open(t)
		img, err := image.New(t.Context(), other, "app:v1", ocispec.ImageConfig{}, text("x", "x"))
		require.NoError(t, err)
		require.NoError(t, img.Push(t.Context(), host+"/app:v1", nil))
		got, err := image.Get(t.Context(), e, "app:v1")
		require.NoError(t, err)
		require.Equal(t, img.Digest(), got.Digest())
		back, err := image.Pull(t.Context(), open(t), host+"/app:v1", nil)
		require.NoError(t, err)
		require.Equal(t, img.Digest(), back.Digest())
		require.NoError(t, got.Remove(t.Context()))
	})
}

// daemon starts Debian's containerd, with all that it has in a directory of its
// own.
func daemon(t *testing.T) (dir, socket string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a daemon")
	}
	path := tool(t, "containerd", "containerd")
	ctr := tool(t, "ctr", "containerd")
	dir, err := os.MkdirTemp("", "ctor-ctr-") // sockets have short paths
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket = filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = %q
[ttrpc]
address = %q
`, dir+"/root", dir+"/state", socket, socket+".ttrpc"), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(path, "--config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("containerd:\n%s", &log)
		}
	})
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, ctr, "-a", socket, "version").CombinedOutput()
		assert.NoError(c, err, "%s", out)
	}, 30*time.Second, 50*time.Millisecond)
	return dir, socket
}
