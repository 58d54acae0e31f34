package spec_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// A look-up ends with its context, however much an image gives it to do: here
// a command in each of 60,000 directories, and a user.
func TestLookupEnds(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/etc", 0o755))
	require.NoError(t, os.WriteFile(dir+"/etc/passwd", []byte("app:x:1:1::/:/bin/sh\n"), 0o644))
	root, err := rootfs.Open([]mount.Mount{{Type: "bind", Source: dir}}, t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	s, err := write(t, ocispec.ImageConfig{Cmd: []string{"x"}, Env: []string{"PATH=" + strings.Repeat("/:", 60_000)}}, spec.Options{})
	require.NoError(t, err)
	require.ErrorIs(t, spec.CheckCommand(root, s), errdefs.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = spec.CheckCommand(root.In(ctx), s)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, _, err = spec.User(root.In(ctx), "app")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, errdefs.ErrInvalidArgument)
	c := spec.Command{Path: "x", Dir: "/etc", User: "app"}
	_, err = c.Process(root.In(ctx), s.Process)
	require.ErrorIs(t, err, context.Canceled)
}
