package services

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

func testContext() context.Context {
	l := logrus.New()
	l.SetLevel(logrus.PanicLevel)
	return log.WithLogger(namespaces.WithNamespace(context.Background(), "test"), logrus.NewEntry(l))
}

func config(dir string) Config {
	return Config{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state"), Namespace: "test", Snapshotter: "overlayfs"}
}

func start(t testing.TB, dir string) *Services {
	t.Helper()
	s, err := Start(testContext(), config(dir))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func write(t testing.TB, s *Services, text string) digest.Digest {
	t.Helper()
	d := ocispec.Descriptor{Digest: digest.FromString(text), Size: int64(len(text))}
	require.NoError(t, content.WriteBlob(testContext(), s.Client().ContentStore(), text, strings.NewReader(text), d))
	return d.Digest
}

// Two sets of services know nothing of each other.
func TestTwoSets(t *testing.T) {
	one, two := start(t, t.TempDir()), start(t, t.TempDir())
	require.Equal(t, []string{"overlayfs", "native"}, one.Snapshotters())
	d := write(t, one, "something")
	_, err := two.Client().ContentStore().Info(testContext(), d)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	require.NoError(t, one.Close())
	write(t, two, "something else")
}

func TestCloseTwice(t *testing.T) {
	s := start(t, t.TempDir())
	write(t, s, "something")
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}

// A plugin that fails stops the start, and what was started is stopped.
func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	cfg := config(dir)
	cfg.Snapshotter = "zfs"
	require.NoError(t, os.MkdirAll(filepath.Join(cfg.State, "tasks"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(cfg.State, "tasks", "bundle"), nil, 0o600))
	_, err := Start(testContext(), cfg)
	require.ErrorContains(t, err, "start tasks: mkdir "+cfg.State+"/tasks/bundle: not a directory")
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		require.True(t, time.Now().Before(end), "goroutines go on")
	}
	require.NoError(t, os.Remove(filepath.Join(cfg.State, "tasks", "bundle")))
	start(t, dir)
}

// What is deleted goes soon, even if deletions never pause for longer than
// the collection waits.
func TestCollects(t *testing.T) {
	s := start(t, t.TempDir())
	cs := s.Client().ContentStore()
	lost := write(t, s, "nobody refers to this")
	end := time.Now().Add(10 * time.Second)
	for n := 0; ; n++ {
		err := cs.Delete(testContext(), write(t, s, fmt.Sprint("deleted ", n)))
		require.True(t, err == nil || errdefs.IsNotFound(err), err) // a collection may be first
		if _, err := cs.Info(testContext(), lost); errdefs.IsNotFound(err) {
			break
		}
		require.True(t, time.Now().Before(end), "no collection")
	}
}

// Close carries out on the disk what was deleted before.
func TestCloseCollects(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	sn := s.Client().SnapshotService("overlayfs")
	_, err := sn.Prepare(testContext(), "layer", "")
	require.NoError(t, err)
	d := write(t, s, "blob")
	require.NoError(t, sn.Remove(testContext(), "layer"))
	require.NoError(t, s.Client().ContentStore().Delete(testContext(), d))
	require.NoError(t, s.Close())
	require.Empty(t, onDisk(t, dir))
}

func onDisk(t *testing.T, dir string) (found []string) {
	for _, pattern := range []string{
		"root/io.containerd.snapshotter.v1.*/snapshots/*",
		"root/io.containerd.content.v1.content/blobs/sha256/*",
		"root/io.containerd.content.v1.content/ingest/*",
	} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		found = append(found, paths...)
	}
	return found
}

// A set that ended in the middle of things is put in order.
func TestRepairAndSweep(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	require.NoError(t, Repair(testContext(), cfg.Root), "nothing is there yet")
	s := start(t, dir)
	overlay := s.Client().SnapshotService("overlayfs")
	label := map[string]string{"containerd.io/gc.root": "now"}
	_, err := overlay.Prepare(testContext(), "kept", "", snapshots.WithLabels(label))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	kept := onDisk(t, dir)
	require.Len(t, kept, 1)

	store := filepath.Join(cfg.Root, "io.containerd.content.v1.content")
	for path, text := range map[string]string{
		// Renamed into place, and never written down: the next has its number.
		"io.containerd.snapshotter.v1.overlayfs/snapshots/2/fs/file":       "half",
		"io.containerd.snapshotter.v1.overlayfs/snapshots/new-123/fs/file": "half",
		"io.containerd.snapshotter.v1.native/snapshots/1/file":             "half",
		"io.containerd.snapshotter.v1.native/snapshots/new-123/file":       "half",
		"io.containerd.snapshotter.v1.native/snapshots/rm-7/file":          "half",
		// An ingest without a name, one with half a name, one that lacks data.
		"io.containerd.content.v1.content/ingest/aaaa/data":                                                "half",
		"io.containerd.content.v1.content/ingest/bbbb/ref":                                                 "na",
		"io.containerd.content.v1.content/ingest/" + digest.FromString("whole").Encoded() + "/ref":         "whole",
		"io.containerd.content.v1.content/blobs/sha256/" + digest.FromString("not written down").Encoded(): "not written down",
	} {
		path = filepath.Join(cfg.Root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	require.NoError(t, Repair(testContext(), cfg.Root))
	require.Len(t, onDisk(t, dir), 2, "the collector finds the blob, Repair the rest")
	require.DirExists(t, store)

	s = start(t, dir)
	require.NoError(t, s.Sweep(testContext()))
	require.Equal(t, kept, onDisk(t, dir))
	_, err = s.Client().SnapshotService("overlayfs").Prepare(testContext(), "next", "")
	require.NoError(t, err)
	_, err = s.Client().SnapshotService("native").Prepare(testContext(), "next", "")
	require.NoError(t, err)
	require.NoError(t, s.Sweep(testContext()), "again")
}

func TestSweepCancelled(t *testing.T) {
	s := start(t, t.TempDir())
	ctx, cancel := context.WithCancel(testContext())
	cancel()
	require.Error(t, s.Sweep(ctx))
	require.NoError(t, s.Sweep(testContext()))
}
