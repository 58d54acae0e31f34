package services

import (
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// deepen makes a tree in dir that is deeper than few allows to remove by holding
// all of it open.
func deepen(t *testing.T, dir, name string) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range 600 {
		require.NoError(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(at))
		at = next
	}
	require.NoError(t, unix.Close(at))
}

// few lets the test have 300 files open.
func few(t *testing.T) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 300, Max: old.Max}))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) })
}

// writable is the directory that is written to through the mounts of a snapshot.
func writable(ms []mount.Mount) string {
	if top := option(ms[0], "upperdir"); top != "" {
		return top
	}
	return ms[0].Source
}

// A layer goes, of an image or a container, however deep it is.
func TestRemoveDeep(t *testing.T) {
	for _, name := range []string{overlayfs, "native"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, dir)
			sn, ctx := s.Client().SnapshotService(name), testContext()
			root := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})
			ms, err := sn.Prepare(ctx, "making", "", root)
			require.NoError(t, err)
			deepen(t, writable(ms), "i")
			require.NoError(t, sn.Commit(ctx, "image", "making", root))
			ms, err = sn.Prepare(ctx, "container", "image", root)
			require.NoError(t, err)
			deepen(t, writable(ms), "c")
			few(t)
			require.NoError(t, sn.Remove(ctx, "container"))
			require.NoError(t, sn.Remove(ctx, "image"))
			_, err = s.collector.ScheduleAndWait(ctx)
			require.NoError(t, err)
			require.Empty(t, onDisk(t, dir))
		})
	}
}

// A directory that can't be removed is tried again, whatever else is there to
// collect, and told by Close of the services.
func TestRemoveLater(t *testing.T) {
	for _, name := range []string{overlayfs, "native"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { // of a test that failed
				for _, pattern := range []string{"*", "*/fs"} {
					mounts, _ := filepath.Glob(filepath.Join(dir, "root/*.snapshotter.*/snapshots", pattern))
					for _, m := range mounts {
						_ = unix.Unmount(m, 0)
					}
				}
			})
			s := start(t, dir)
			sn, ctx := s.Client().SnapshotService(name), testContext()
			stick := func() (unstick func()) {
				ms, err := sn.Prepare(ctx, "layer", "")
				require.NoError(t, err)
				require.NoError(t, unix.Mount("tmpfs", writable(ms), "tmpfs", 0, ""))
				require.NoError(t, sn.Remove(ctx, "layer"))
				_, err = s.collector.ScheduleAndWait(ctx)
				require.ErrorIs(t, err, unix.EBUSY)
				found := onDisk(t, dir)
				require.Len(t, found, 1)
				at := found[0]
				if name == overlayfs {
					at = filepath.Join(at, upper)
				}
				return func() { require.NoError(t, unix.Unmount(at, 0)) }
			}
			unstick := stick()
			_, err := s.collector.ScheduleAndWait(ctx)
			require.ErrorIs(t, err, unix.EBUSY)
			unstick()
			_, err = s.collector.ScheduleAndWait(ctx)
			require.NoError(t, err)
			require.Empty(t, onDisk(t, dir))

			unstick = stick()
			require.ErrorIs(t, s.Close(), unix.EBUSY)
			unstick()
			require.NoError(t, Repair(ctx, config(dir).Root))
			require.NoError(t, start(t, dir).Sweep(ctx))
			require.Empty(t, onDisk(t, dir))
		})
	}
}

// What is said of a snapshot is what was said to it.
func TestLabelsAreBare(t *testing.T) {
	s := start(t, t.TempDir())
	sn, ctx := s.Client().SnapshotService(overlayfs), testContext()
	_, err := sn.Prepare(ctx, "layer", "", snapshots.WithLabels(map[string]string{"containerd.io/snapshot/a": "b"}))
	require.NoError(t, err)
	want := map[string]string{"containerd.io/snapshot/a": "b"}
	info, err := sn.Stat(ctx, "layer")
	require.NoError(t, err)
	require.Equal(t, want, info.Labels)
	info, err = sn.Update(ctx, info, "labels.containerd.io/snapshot/a")
	require.NoError(t, err)
	require.Equal(t, want, info.Labels)
	require.Equal(t, []string{"layer"}, names(t, sn, `labels."containerd.io/snapshot/a"==b`))
}
