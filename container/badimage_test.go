package container_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

// An image that is not what a container needs is at fault itself, and not the
// host.
func TestBadImage(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err)
	file := &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
	dir := &fstest.MapFile{Mode: os.ModeDir | 0o755}
	link := func(to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(to), Mode: os.ModeSymlink | 0o777}
	}
	in := func(dir string) ocispec.ImageConfig { return ocispec.ImageConfig{WorkingDir: dir} }
	any := ocispec.ImageConfig{}
	for n, test := range []struct {
		name  string
		image ocispec.ImageConfig
		files fstest.MapFS
	}{
		{"/proc is a file", any, fstest.MapFS{"proc": file}},
		{"/proc is a link", any, fstest.MapFS{"proc": link("etc")}},
		{"/proc is a link to itself", any, fstest.MapFS{"proc": link("proc")}},
		{"/sys is a file", any, fstest.MapFS{"sys": file}},
		{"/dev is a file", any, fstest.MapFS{"dev": file}},
		{"/dev is a link to itself", any, fstest.MapFS{"dev": link("/dev")}},
		{"/etc is a file", any, fstest.MapFS{"etc": file}},
		{"/etc/hosts is a directory", any, fstest.MapFS{"etc/hosts": dir}},
		{"/etc/hosts is a link to itself", any, fstest.MapFS{"etc/hosts": link("hosts")}},
		{"the working directory is a file", in("/file"), fstest.MapFS{"file": file}},
		{"the working directory is below a file", in("/file/x"), fstest.MapFS{"file": file}},
		{"the working directory is a link to itself", in("/link/x"), fstest.MapFS{"link": link("link")}},
		{"the working directory is in /proc", in("/proc/nope"), nil},
		{"the working directory is too long", in("/" + strings.Repeat("x", 300)), nil},
		{"the program is none", any, fstest.MapFS{"bin/true": {Data: []byte("\x7fELF\x02\x01\x01 and nothing"), Mode: 0o755}}},
	} {
		files := fstest.MapFS{"bin/true": {Data: busybox, Mode: 0o755}}
		for name, f := range test.files {
			files[name] = f
		}
		test.image.Env = []string{"PATH=/bin"}
		img, err := image.New(t.Context(), e, fmt.Sprintf("ctor.test/bad:%d", n), test.image, layer.FromFS(files, nil))
		require.NoError(t, err, test.name)
		c, err := img.Run(t.Context(), container.Config{Args: []string{"true"}})
		if err == nil {
			require.NoError(t, c.Close())
		}
		require.ErrorIs(t, err, ctor.ErrInvalid, test.name)
		require.NotErrorIs(t, err, ctor.ErrUnavailable, test.name)
	}
}

// Runtimes complain on a container's standard error, and so does what was forked
// and is not executed. Nobody takes that for the container's own.
func TestFailureSaysNothing(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img, err := fixture.Busybox(t, e).Derive(t.Context(), "ctor.test/none", nil, layer.FromFS(fstest.MapFS{
		"bin/none": {Data: []byte("\x7fELF\x02\x01\x01 and nothing"), Mode: 0o755},
	}, nil))
	require.NoError(t, err)
	idle, err := img.Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	defer idle.Close()
	for name, cmd := range map[string]*container.Cmd{
		"container": idle.Command(t.Context(), "none"),
		"image":     img.Command(t.Context(), "none"),
	} {
		out, err := cmd.CombinedOutput()
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
		require.Empty(t, out, name)
	}
	var out bytes.Buffer
	badMount := container.Mount{Source: "/etc/passwd", Target: "/tmp"} // a file on a directory
	_, err = img.Run(t.Context(), container.Config{Args: []string{"true"}, Mounts: []container.Mount{badMount}, Stdout: &out, Stderr: &out})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.Empty(t, out.String())

	for _, detach := range []bool{false, true} {
		cfg := container.Config{Args: []string{"none"}, Detach: detach}
		if !detach {
			cfg.Stdout, cfg.Stderr = &out, &out
		}
		c, err := img.New(t.Context(), cfg)
		require.NoError(t, err)
		require.ErrorIs(t, c.Start(t.Context()), ctor.ErrInvalid)
		logs, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
		require.NoError(t, err)
		text, err := io.ReadAll(logs)
		require.NoError(t, err)
		require.Empty(t, string(text))
		require.Empty(t, out.String())
		require.NoError(t, logs.Close())
		require.NoError(t, c.Close())
	}
}
