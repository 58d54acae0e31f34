package build_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	blobs "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// blob reads JSON from the engine's store.
func blob(t *testing.T, e *ctor.Engine, d digest.Digest, into any) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), "ctor")
	b, err := blobs.ReadBlob(ctx, e.Containerd().ContentStore(), ocispec.Descriptor{Digest: d})
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, into))
}

// An image for several platforms, whose commands are this machine's.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := dockerfile(
		"FROM --platform=$BUILDPLATFORM ctor.test/busybox:1 AS make",
		"ARG TARGETPLATFORM",
		"RUN echo for $TARGETPLATFORM > /made",
		"FROM scratch",
		"COPY --from=make /made /",
		"COPY Dockerfile /",
	)
	o := alone()
	o.Platforms = []string{"linux/amd64", "linux/arm64"}
	img, err := build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	var index ocispec.Index
	blob(t, e, img.Index(), &index)
	require.Len(t, index.Manifests, 2)
	for _, m := range index.Manifests {
		require.NotNil(t, m.Platform)
		one, err := image.Pull(t.Context(), e, img.Ref(), &image.PullOptions{Policy: image.PullNever, Platform: platforms.Format(*m.Platform)})
		require.NoError(t, err)
		require.Equal(t, "for "+platforms.Format(*m.Platform)+"\n", content(t, one, "made"))
	}
	require.Equal(t, "amd64", img.Spec().Architecture)

	// One that is none of this machine's.
	o.Platforms = []string{"linux/s390x"}
	img, err = build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	require.Equal(t, "for linux/s390x\n", content(t, img, "made"))
	require.Equal(t, "s390x", img.Spec().Architecture)

	for _, bad := range []string{"", "linux/", "linux/amd64,linux/arm64"} {
		_, err = build.Build(t.Context(), e, from, &build.Options{Platforms: []string{bad}})
		require.ErrorIs(t, err, ctor.ErrInvalid, bad)
	}
}

// A base image's index without the platform is an error, and leaves no image behind. A
// base image that is not an index is used for any platform.
func TestPlatformMissing(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	s := registrytest.NewServer(t, nil)
	from := dockerfile("FROM scratch", "COPY Dockerfile /")
	for name, list := range map[string][]string{"index": {"linux/amd64", "linux/arm64"}, "one": nil} {
		ref := s.Host + "/" + name + ":1"
		img, err := build.Build(t.Context(), e, from, &build.Options{Platforms: list, Tags: []string{ref}})
		require.NoError(t, err)
		require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{All: true}))
		require.NoError(t, img.Remove(t.Context()))
	}
	o := alone()
	o.Platforms = []string{"linux/s390x"}
	_, err := build.Build(t.Context(), e, dockerfile("FROM "+s.Host+"/index:1", "COPY Dockerfile /"), o)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = image.Get(t.Context(), e, s.Host+"/index:1")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = build.Build(t.Context(), e, dockerfile("FROM "+s.Host+"/one:1", "COPY Dockerfile /"), o)
	require.NoError(t, err)
}

// running is a context whose command is a program.
func running(program []byte) fstest.MapFS {
	from := dockerfile("FROM scratch", "COPY answer /", `RUN ["/answer"]`)
	from["answer"] = &fstest.MapFile{Data: program, Mode: 0o755}
	return from
}

// compiled is a program that says what it is compiled for.
func compiled(t *testing.T, arch string) []byte {
	file := filepath.Join(t.TempDir(), "answer")
	cmd := exec.Command("go", "build", "-o", file, "./testdata/answer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	program, err := os.ReadFile(file)
	require.NoError(t, err)
	return program
}

// s390x is as much of a program of s390x as the kernel reads before it says no.
var s390x = append([]byte("\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16"), make([]byte, 256)...)

// A RUN for another platform is refused where the kernel can't execute its programs,
// and runs where binfmt_misc is set up for it.
func TestForeignCommand(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	o := alone()
	o.Platforms = []string{"linux/s390x"}
	_, err := build.Build(t.Context(), e, running(s390x), o)
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	require.ErrorContains(t, err, "Dockerfile:3: RUN")
	require.ErrorContains(t, err, "this host runs no commands of linux/s390x: apt-get install qemu-user-static binfmt-support")

	if _, err := fs.Stat(os.DirFS("/proc/sys/fs/binfmt_misc"), "qemu-aarch64"); err != nil {
		t.Skip("this kernel runs no programs of arm64: apt-get install qemu-user-static binfmt-support")
	}
	var s seen
	o.Platforms, o.Progress = []string{"linux/arm64"}, s.add
	_, err = build.Build(t.Context(), e, running(compiled(t, "arm64")), o)
	require.NoError(t, err)
	require.Contains(t, s.output(), "arm64\n")
}
