package services

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const scratch = "io.test.scratch"

// classed are services with an image of two layers, its name, and where scratch
// layers are.
func classed(t *testing.T) (s *Services, image, dir string) {
	t.Helper()
	cfg := config(t.TempDir())
	cfg.Owner, cfg.Scratch = "io.test.owner", scratch
	s, err := Start(testContext(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	sn := s.Client().SnapshotService(overlayfs)
	root := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})
	parent := ""
	for i := range 2 {
		ms, err := sn.Prepare(testContext(), "making", parent, root)
		require.NoError(t, err)
		top := option(ms[0], "upperdir")
		if top == "" {
			top = ms[0].Source
		}
		require.NoError(t, os.WriteFile(filepath.Join(top, fmt.Sprint("file", i)), nil, 0o644))
		require.NoError(t, os.Chmod(top, 0o751))
		require.NoError(t, os.Chown(top, 12, 34))
		parent = fmt.Sprint("layer", i)
		require.NoError(t, sn.Commit(testContext(), parent, "making", root))
	}
	return s, parent, filepath.Join(cfg.State, "layers")
}

func option(m mount.Mount, name string) string {
	for _, o := range m.Options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

func prepare(s *Services, key, image string) ([]mount.Mount, error) {
	return s.Client().SnapshotService(overlayfs).Prepare(testContext(), key, image,
		snapshots.WithLabels(map[string]string{scratch: "yes", "a": "b"}))
}

// To its users a held layer is a snapshot as any other.
func TestHeldLayer(t *testing.T) {
	s, image, dir := classed(t)
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	ms, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.Len(t, ms, 1)
	require.Equal(t, dir+"/1/fs", option(ms[0], "upperdir"))
	require.Equal(t, dir+"/1/work", option(ms[0], "workdir"))
	require.Len(t, strings.Split(option(ms[0], "lowerdir"), ":"), 2)

	at := t.TempDir()
	require.NoError(t, mount.All(ms, at))
	st, err := os.Stat(at)
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o751, st.Mode(), "its root is the image's")
	require.FileExists(t, filepath.Join(at, "file0"))
	require.NoError(t, os.WriteFile(filepath.Join(at, "file1"), []byte("changed"), 0o644))
	require.NoError(t, mount.Unmount(at, 0))

	again, err := sn.Mounts(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, ms, again)
	info, err := sn.Stat(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, snapshots.KindActive, info.Kind)
	require.Equal(t, image, info.Parent)
	u, err := sn.Usage(ctx, "c")
	require.NoError(t, err)
	require.EqualValues(t, 2, u.Inodes)

	info.Labels = map[string]string{"a": "c"}
	_, err = sn.Update(ctx, info, "labels.a")
	require.NoError(t, err)
	_, err = sn.Update(ctx, info, "labels")
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition, "it can't be made to stay")
	_, err = sn.Update(ctx, info, "parent")
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	require.Equal(t, []string{"c"}, names(t, sn, "labels.a==c"))
	require.Equal(t, []string{"layer0", "layer1", "c"}, names(t, sn), "what a base keeps is not shown")

	for _, held := range []bool{true, false} {
		if held {
			_, err = prepare(s, "c", image)
		} else {
			_, err = sn.Prepare(ctx, "c", image)
		}
		require.ErrorIs(t, err, errdefs.ErrAlreadyExists)
	}
	_, err = sn.Prepare(ctx, "detached", image)
	require.NoError(t, err)
	_, err = prepare(s, "detached", image)
	require.ErrorIs(t, err, errdefs.ErrAlreadyExists)
	_, err = prepare(s, "d", "no such image")
	require.ErrorIs(t, err, errdefs.ErrNotFound)

	require.NoError(t, sn.Remove(ctx, "c"))
	require.ErrorIs(t, sn.Remove(ctx, "c"), errdefs.ErrNotFound)
	require.NoError(t, s.layers.trash.Empty())
	require.Empty(t, entries(t, dir))
}

func names(t *testing.T, sn snapshots.Snapshotter, filters ...string) (all []string) {
	t.Helper()
	require.NoError(t, sn.Walk(testContext(), func(_ context.Context, i snapshots.Info) error {
		all = append(all, i.Name)
		return nil
	}, filters...))
	return all
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	e, err := os.ReadDir(dir)
	require.NoError(t, err)
	return e
}

// An image's layers stay as long as a container has them, and no longer.
func TestBaseKeepsImage(t *testing.T) {
	s, image, _ := classed(t)
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	ms, err := prepare(s, "c", image)
	require.NoError(t, err)
	lower := strings.Split(option(ms[0], "lowerdir"), ":")
	for _, name := range []string{"layer1", "layer0"} {
		_, err := sn.Update(ctx, snapshots.Info{Name: name}, "labels.containerd.io/gc.root")
		require.NoError(t, err)
	}
	_, err = s.collector.ScheduleAndWait(ctx)
	require.NoError(t, err)
	for _, d := range lower {
		require.DirExists(t, d)
	}
	require.NoError(t, sn.Remove(ctx, "c"))
	_, err = s.collector.ScheduleAndWait(ctx)
	require.NoError(t, err)
	for _, d := range lower {
		require.NoDirExists(t, d)
	}
	_, err = prepare(s, "c", image)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

// A base that could not be dropped is dropped next time.
func TestBaseStays(t *testing.T) {
	s, image, _ := classed(t)
	ms, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.NoError(t, s.Client().SnapshotService(overlayfs).Remove(testContext(), "c"))
	b := s.layers.bases
	whole := b.overlay
	b.overlay = full{whole}
	require.ErrorIs(t, b.dropUnused(testContext()), unix.ENOSPC)
	b.overlay = whole
	again, err := prepare(s, "c", image)
	require.NoError(t, err)
	require.Equal(t, option(ms[0], "lowerdir"), option(again[0], "lowerdir"))
	require.NoError(t, s.Client().SnapshotService(overlayfs).Remove(testContext(), "c"))
	require.NoError(t, b.dropUnused(testContext()))
	require.Empty(t, b.all)
	require.Empty(t, b.kept)
}

// full has a database that can't be written.
type full struct{ snapshots.Snapshotter }

func (full) Remove(context.Context, string) error { return unix.ENOSPC }

// Many containers of one image, while bases are dropped.
func TestBaseRace(t *testing.T) {
	s, image, dir := classed(t)
	sn := s.Client().SnapshotService(overlayfs)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				key := fmt.Sprint("c", i)
				if _, err := prepare(s, key, image); err != nil {
					t.Error(err)
					return
				}
				if err := sn.Remove(testContext(), key); err != nil {
					t.Error(err)
				}
				if i == 0 {
					if _, err := s.collector.ScheduleAndWait(testContext()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.layers.trash.Empty())
	require.Empty(t, entries(t, dir))
	require.NoError(t, s.Close())
	require.Empty(t, s.layers.bases.all)
	require.Empty(t, s.layers.bases.kept)
}

// What a killed program left is gone at the next start.
func TestHeldLayersGo(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "state", "layers", "7", "fs")
	require.NoError(t, os.MkdirAll(left, 0o700))
	start(t, dir)
	require.NoDirExists(t, left)
}
