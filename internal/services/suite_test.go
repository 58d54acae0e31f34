package services

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// containerd's own test suite for snapshotters, over those that clients of an
// engine get: overlayfs as it is, overlayfs with every layer held that can be,
// and native.
func TestSnapshotters(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes and removes thousands of layers")
	}
	for name, kind := range map[string]string{overlayfs: overlayfs, "held": overlayfs, "native": "native"} {
		t.Run(name, func(t *testing.T) {
			testsuite.SnapshotterSuite(t, kind, func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
				cfg := config(root)
				cfg.Owner, cfg.Scratch = "io.test.owner", scratch
				cfg.Snapshotter = kind
				s, err := Start(testContext(), cfg)
				if err != nil {
					return nil, nil, err
				}
				sn := s.Client().SnapshotService(kind)
				if name == "held" {
					sn = holding{sn}
				}
				return sn, s.Close, nil
			})
		})
	}
}

// holding has every layer held that can be.
type holding struct{ snapshots.Snapshotter }

func (h holding) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return h.Snapshotter.Prepare(ctx, key, parent, append(opts, snapshots.WithLabels(map[string]string{scratch: "yes"}))...)
}

// Update keeps the label by which a layer is held: taking it off is an error.
func (h holding) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	old, err := h.Stat(ctx, info.Name)
	if err != nil {
		return old, err
	}
	if old.Labels[scratch] != "" {
		info.Labels = maps.Clone(info.Labels)
		info.Labels[scratch] = "yes"
	}
	i, err := h.Snapshotter.Update(ctx, info, fields...)
	delete(i.Labels, scratch)
	return i, err
}

// A name is one snapshot's, whichever way it is made.
func TestOneName(t *testing.T) {
	s, image, _ := classed(t)
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	_, err := prepare(s, "held", image)
	require.NoError(t, err)
	root := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"}) // or they are collected
	_, err = sn.Prepare(ctx, "active", image, root)
	require.NoError(t, err)
	_, err = sn.View(ctx, "view", image, root)
	require.NoError(t, err)
	for _, name := range []string{"held", "active", "view", image} {
		_, err := prepare(s, name, image)
		require.ErrorIs(t, err, errdefs.ErrAlreadyExists, name)
		_, err = sn.Prepare(ctx, name, image)
		require.ErrorIs(t, err, errdefs.ErrAlreadyExists, name)
		_, err = sn.View(ctx, name, image)
		require.ErrorIs(t, err, errdefs.ErrAlreadyExists, name)
		if name != "active" {
			require.ErrorIs(t, sn.Commit(ctx, name, "active"), errdefs.ErrAlreadyExists, name)
		}
		if name != "held" {
			require.ErrorIs(t, sn.Commit(ctx, name, "held"), errdefs.ErrAlreadyExists, name)
		}
	}
	require.Equal(t, []string{"active", "layer0", "layer1", "view", "held"}, names(t, sn))
	_, err = sn.Prepare(ctx, "above", "held")
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "it is not committed")
}

// What is not shown is not there for anything else either.
func TestHiddenBase(t *testing.T) {
	s, image, _ := classed(t)
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	_, err := prepare(s, "c", image)
	require.NoError(t, err)
	var base string
	require.NoError(t, s.layers.overlay.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if s.layers.bases.keeps(ctx, i.Name) {
			base = i.Name
		}
		return nil
	}))
	require.NotEmpty(t, base)
	_, err = sn.Stat(ctx, base)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = sn.Mounts(ctx, base)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = sn.Usage(ctx, base)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	_, err = sn.Update(ctx, snapshots.Info{Name: base}, "labels")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	require.ErrorIs(t, sn.Commit(ctx, "new", base), errdefs.ErrNotFound)
	require.ErrorIs(t, sn.Remove(ctx, base), errdefs.ErrNotFound)

	require.ErrorIs(t, sn.Remove(ctx, image), errdefs.ErrFailedPrecondition, "a container has it")
	require.NoError(t, sn.Remove(ctx, "c"))
	require.NoError(t, sn.Remove(ctx, image), "nobody has")
}

// A held layer that is committed is a snapshot like any other, with its files.
func TestCommitHeld(t *testing.T) {
	s, image, dir := classed(t)
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	ms, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(option(ms[0], "upperdir"), "new"), nil, 0o644))
	whole := s.layers.overlay
	s.layers.overlay = uncommitted{whole}
	require.ErrorIs(t, sn.Commit(ctx, "image", "c"), unix.ENOSPC)
	s.layers.overlay = whole
	again, err := sn.Mounts(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, ms, again, "it is as it was")
	require.FileExists(t, filepath.Join(option(ms[0], "upperdir"), "new"))

	require.NoError(t, sn.Commit(ctx, "image", "c", snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})))
	info, err := sn.Stat(ctx, "image")
	require.NoError(t, err)
	require.Equal(t, snapshots.KindCommitted, info.Kind)
	require.Equal(t, image, info.Parent)
	require.NotContains(t, info.Labels, scratch)
	_, err = sn.Stat(ctx, "c")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	require.Empty(t, entries(t, dir))
	view, err := sn.View(ctx, "v", "image")
	require.NoError(t, err)
	at := t.TempDir()
	require.NoError(t, mount.All(view, at))
	require.FileExists(t, filepath.Join(at, "new"))
	require.FileExists(t, filepath.Join(at, "file0"))
	require.NoError(t, mount.Unmount(at, 0))
	_, err = s.collector.ScheduleAndWait(ctx)
	require.NoError(t, err)
	_, err = prepare(s, "on it", "image")
	require.NoError(t, err)
}

// uncommitted has a database that commits nothing.
type uncommitted struct{ snapshots.Snapshotter }

func (uncommitted) Commit(context.Context, string, string, ...snapshots.Opt) error {
	return unix.ENOSPC
}

// What says how it is to be made is made by the snapshotter that knows how.
func TestInstructed(t *testing.T) {
	s, image, dir := classed(t)
	_, err := s.Client().SnapshotService(overlayfs).Prepare(testContext(), "c", image, snapshots.WithLabels(map[string]string{
		scratch: "yes", snapshots.LabelSnapshotUIDMapping: "0:1000:65535", snapshots.LabelSnapshotGIDMapping: "0:1000:65535",
	}))
	require.NoError(t, err)
	require.Empty(t, entries(t, dir))
}
