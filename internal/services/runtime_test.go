package services_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/fixture"
)

// stranger makes a container as a stranger's program would, of a runtime.
func stranger(t *testing.T, e *ctor.Engine, id, runtime string, o any, args ...string) containerd.Container {
	t.Helper()
	ctx, c := e.Context(t.Context()), e.Containerd()
	img, err := c.GetImage(ctx, fixture.Busybox(t, e).Ref())
	require.NoError(t, err)
	require.NoError(t, img.Unpack(ctx, e.Snapshotter()))
	made, err := c.NewContainer(ctx, id,
		containerd.WithSnapshotter(e.Snapshotter()), containerd.WithNewSnapshot(id, img),
		containerd.WithRuntime(runtime, o),
		containerd.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs(args...),
			oci.WithCgroup(filepath.Join(cgroup.Parent(e.Root(), "ctor"), id)))) // the client's own choice would stay, empty
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, made.Delete(context.WithoutCancel(ctx), containerd.WithSnapshotCleanup))
	})
	return made
}

// Whoever names a runtime gets it, or an error; never another in its place.
func TestRuntimes(t *testing.T) {
	e := containertest.Engine(t)
	ctx, c := e.Context(t.Context()), e.Containerd()
	for i, name := range []string{"io.containerd.runsc.v1", "io.containerd.kata.v2", "/usr/bin/containerd-shim-runc-v2"} {
		_, err := stranger(t, e, fmt.Sprint("other", i), name, nil, "true").NewTask(ctx, cio.NullIO)
		require.ErrorIs(t, err, errdefs.ErrNotImplemented, name)
		require.ErrorContains(t, err, name)
		_, err = c.RuntimeInfo(ctx, name, nil)
		require.ErrorIs(t, err, errdefs.ErrNotImplemented, name)
	}
	task, err := stranger(t, e, "runc", plugins.RuntimeRuncV2, nil, "true").NewTask(ctx, cio.NullIO)
	require.NoError(t, err)
	_, err = task.Delete(ctx, containerd.WithProcessKill)
	require.NoError(t, err)

	i, err := c.RuntimeInfo(ctx, "", nil)
	require.NoError(t, err)
	require.Equal(t, c.Runtime(), i.Name)
	f, ok := i.Features.(*features.Features)
	require.True(t, ok, "%T", i.Features)
	require.Contains(t, f.MountOptions, "rro")
}

// An option of containerd's own shim is honoured or refused, whether the
// container has it or the task.
func TestRuntimeOptions(t *testing.T) {
	e := containertest.Engine(t)
	ctx := e.Context(t.Context())
	for name, o := range map[string]*options.Options{
		"no_pivot_root": {NoPivotRoot: true}, "no_new_keyring": {NoNewKeyring: true}, "shim_cgroup": {ShimCgroup: "/x"},
		"binary_name": {BinaryName: "no-runc"}, "root": {Root: "/x"}, "systemd_cgroup": {SystemdCgroup: true},
		"criu_image_path": {CriuImagePath: "/x"}, "criu_work_path": {CriuWorkPath: "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stranger(t, e, "of-container", e.Containerd().Runtime(), o, "true").NewTask(ctx, cio.NullIO)
			require.ErrorIs(t, err, errdefs.ErrNotImplemented)
			require.ErrorContains(t, err, name)
			_, err = stranger(t, e, "of-task", e.Containerd().Runtime(), nil, "true").NewTask(ctx, cio.NullIO,
				func(_ context.Context, _ *containerd.Client, i *containerd.TaskInfo) error { i.Options = o; return nil })
			require.ErrorIs(t, err, errdefs.ErrNotImplemented)
			require.ErrorContains(t, err, name)
		})
	}
	// The owner of the streams can open them again.
	dir := t.TempDir()
	task, err := stranger(t, e, "owned", e.Containerd().Runtime(), &options.Options{IoUid: 1000, IoGid: 1001}, "sleep", "1000").
		NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, io.Discard, io.Discard), cio.WithFIFODir(dir)))
	require.NoError(t, err)
	require.NotEmpty(t, task.IO().Config().Stdout)
	for _, path := range []string{task.IO().Config().Stdout, task.IO().Config().Stderr} {
		st, err := os.Stat(path)
		require.NoError(t, err)
		// The user is the process's own by now: runc sees to that.
		require.EqualValues(t, 1001, st.Sys().(*syscall.Stat_t).Gid, path)
	}
	_, err = task.Delete(ctx, containerd.WithProcessKill)
	require.NoError(t, err)
}
