package whole

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/fixture"
)

// raw makes a container with containerd's client alone.
func raw(t *testing.T, e *ctor.Engine, id string, args ...string) containerd.Container {
	t.Helper()
	ctx := e.Context(t.Context())
	client := e.Containerd()
	img, err := client.GetImage(ctx, fixture.Busybox(t, e).Ref())
	require.NoError(t, err)
	require.NoError(t, img.Unpack(ctx, e.Snapshotter()))
	c, err := client.NewContainer(ctx, id, containerd.WithSnapshotter(e.Snapshotter()), containerd.WithNewSnapshot(id, img),
		containerd.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs(args...), oci.WithCgroup(filepath.Join(cgroup.Parent(e.Root(), "ctor"), id))))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Delete(e.Context(t.Context()), containerd.WithSnapshotCleanup) })
	return c
}

// end ends a task.
func end(t *testing.T, e *ctor.Engine, task containerd.Task) {
	t.Helper()
	_, err := task.Delete(e.Context(t.Context()), containerd.WithProcessKill)
	require.NoError(t, err)
}

func TestCheckpoint(t *testing.T) {
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		t.Skipf("criu check: %v: %s: install one that is as new as the kernel: apt-get install criu", err, out)
	}
	e := fixture.Engine(t, ctor.Config{})
	ctx := e.Context(t.Context())
	count := []string{"sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"}
	var before, after lockedBuffer
	task, err := raw(t, e, "one", count...).NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, &before, io.Discard)))
	require.NoError(t, err)
	require.NoError(t, task.Start(ctx))
	require.Eventually(t, func() bool { return len(before.String()) > 10 }, 20*time.Second, time.Millisecond)
	img, err := task.Checkpoint(ctx, func(i *containerd.CheckpointTaskInfo) error {
		i.Options = &options.CheckpointOptions{Exit: true}
		return nil
	})
	require.NoError(t, err)
	end(t, e, task)

	task, err = raw(t, e, "two", count...).NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, &after, io.Discard)), containerd.WithTaskCheckpoint(img))
	require.NoError(t, err)
	require.NoError(t, task.Start(ctx))
	require.Eventually(t, func() bool { return len(after.String()) > 10 }, 20*time.Second, time.Millisecond)
	end(t, e, task)
	var last, first int
	lines := bytes.Fields([]byte(before.String()))
	_, err = fmt.Sscan(string(lines[len(lines)-1]), &last)
	require.NoError(t, err)
	_, err = fmt.Sscan(after.String(), &first)
	require.NoError(t, err)
	require.Equal(t, last+1, first, "it goes on where it was")
}

// What a checkpoint holds runs with the rights that it says, so a foreign one
// is not restored.
func TestForeignCheckpoint(t *testing.T) {
	e := fixture.Engine(t, ctor.Config{})
	ctx := e.Context(t.Context())
	bad := []byte("pulled from somewhere")
	d := ocispec.Descriptor{MediaType: images.MediaTypeContainerd1Checkpoint, Digest: digest.FromBytes(bad), Size: int64(len(bad))}
	require.NoError(t, content.WriteBlob(ctx, e.Containerd().ContentStore(), "bad", bytes.NewReader(bad), d,
		content.WithLabels(map[string]string{"containerd.io/gc.root": "test"})))
	c := raw(t, e, "victim", "true")
	for class, d := range map[error]ocispec.Descriptor{
		errdefs.ErrPermissionDenied: d,
		errdefs.ErrInvalidArgument:  {MediaType: ocispec.MediaTypeImageManifest, Digest: d.Digest},
		errdefs.ErrNotFound:         {MediaType: d.MediaType, Digest: digest.FromString("nowhere")},
	} {
		_, err := c.NewTask(ctx, cio.NullIO, func(_ context.Context, _ *containerd.Client, i *containerd.TaskInfo) error {
			i.Checkpoint = &types.Descriptor{MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size}
			return nil
		})
		require.ErrorIs(t, err, class)
	}
	left, err := filepath.Glob(filepath.Join(e.Root(), "state/tasks/*/ctor/*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
