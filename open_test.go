package ctor_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestOpenEmpty(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "not", "there", "yet")
	e := fixture.Engine(t, ctor.Config{Root: root})
	require.Equal(t, root, e.Root())
	require.Equal(t, "overlayfs", e.Snapshotter())
	require.Empty(t, fixture.Count(t, e))
	st, err := os.Stat(root)
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o700, st.Mode())
}

func TestRootIsPrivate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.Chmod(root, 0o755))
	fixture.Engine(t, ctor.Config{Root: root})
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	for _, e := range entries {
		i, err := e.Info()
		require.NoError(t, err)
		require.Zero(t, i.Mode().Perm()&0o077, e.Name())
	}
}

func TestRelativeRoot(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	e := fixture.Engine(t, ctor.Config{Root: "some/root"})
	t.Chdir("/") // the engine does not mind
	require.Equal(t, filepath.Join(dir, "some/root"), e.Root())
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
}

func TestNative(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{Snapshotter: "native"})
	require.Equal(t, "native", e.Snapshotter())
	require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
}

// A root may change its snapshotter, and its namespace.
func TestReopenOtherwise(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("three engines")
	}
	root := t.TempDir()
	for _, cfg := range []ctor.Config{
		{Root: root}, {Root: root, Snapshotter: "native"}, {Root: root, Namespace: "other"}, {Root: root},
	} {
		e, err := ctor.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
		require.NoError(t, e.Close())
	}
}

// Engines share nothing but the process, not even the names of containers.
func TestTwoEngines(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two engines")
	}
	one, two := fixture.Engine(t, ctor.Config{}), fixture.Engine(t, ctor.Config{})
	cfg := container.Config{Name: "same", Args: []string{"sleep", "1000"}}
	for _, e := range []*ctor.Engine{one, two} {
		_, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
		require.NoError(t, err)
	}
	require.NoError(t, one.Close())
	c, err := container.Get(t.Context(), two, "same")
	require.NoError(t, err)
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Running, i.State)
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	readOnly := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", readOnly, "tmpfs", unix.MS_RDONLY, "mode=0755"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(readOnly, 0)) })
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		cfg   ctor.Config
		class error
		says  string
	}{
		"root is a file": {
			ctor.Config{Root: file}, ctor.ErrUnavailable,
			"open engine: root " + file + " can't be made: mkdir " + file + ": not a directory (unavailable): choose another Config.Root",
		},
		"root below a file": {
			ctor.Config{Root: file + "/root"}, ctor.ErrUnavailable,
			"open engine: root " + file + "/root can't be made: mkdir " + file + ": not a directory (unavailable): choose another Config.Root",
		},
		"root is read-only": {
			ctor.Config{Root: readOnly}, ctor.ErrUnavailable,
			"open engine: root " + readOnly + " can't be used: open " + readOnly + "/lock: read-only file system (unavailable): choose another Config.Root",
		},
		"root in what is read-only": {
			ctor.Config{Root: readOnly + "/root"}, ctor.ErrUnavailable,
			"open engine: root " + readOnly + "/root can't be made: mkdir " + readOnly + "/root: read-only file system (unavailable): choose another Config.Root",
		},
		"unknown snapshotter": {
			ctor.Config{Root: missing, Snapshotter: "zfs"}, ctor.ErrInvalid,
			`open engine: snapshotter "zfs": it must be one of ["overlayfs" "native"] (invalid argument)`,
		},
		"not text": {
			ctor.Config{Root: missing + "\xff"}, ctor.ErrInvalid,
			`missing\xff": the path is not UTF-8, and a runtime is told it in JSON (invalid argument)`,
		},
		"bad namespace": {
			ctor.Config{Root: missing, Namespace: "../up"}, ctor.ErrInvalid,
			`open engine: namespace: identifier "../up" must match `,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := ctor.Open(t.Context(), test.cfg)
			require.Nil(t, e)
			require.ErrorIs(t, err, test.class)
			require.ErrorContains(t, err, test.says)
			require.NoDirExists(t, missing, "what can't be is found before anything is made")
		})
	}
}

// A root that another user has made, or can put another in the place of, is
// not taken, and nothing is made or changed for it.
func TestOthersRoot(t *testing.T) {
	const other = 1000
	dir := t.TempDir()
	prepare := func(name string, mode fs.FileMode, uid int) string {
		t.Helper()
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(name, 0o755))
		require.NoError(t, os.Chown(name, uid, uid))
		require.NoError(t, os.Chmod(name, mode))
		return name
	}
	link := func(name, target string, uid int) string {
		t.Helper()
		name = filepath.Join(dir, name)
		require.NoError(t, os.Symlink(target, name))
		require.NoError(t, os.Lchown(name, uid, uid))
		return name
	}
	good := prepare("good", 0o700, 0)
	shared := prepare("shared", 0o777|fs.ModeSticky, 0)
	theirs := prepare("theirs", 0o755, other)
	loose := prepare("loose", 0o777, 0)
	planted := prepare("planted", 0o700, 0)
	prepare("planted/state", 0o700, other)
	prepare("group/used", 0o700, 0)
	for root, says := range map[string]string{
		theirs:                            "belongs to user 1000, who may have put anything in it (unavailable): choose another Config.Root, or if it is empty: chown 0 " + theirs,
		loose:                             "can be written to by others, its mode is drwxrwxrwx (unavailable): chmod go-w " + loose,
		prepare("group", 0o770, 0):        "(unavailable): chmod go-w " + dir + "/group",
		shared:                            "(unavailable): chmod go-w " + shared,
		link("link", "good", 0):           "is a link, which may come to lead elsewhere (unavailable): set Config.Root to " + good,
		link("nowhere", "/nope", other):   "is a link",
		theirs + "/root":                  "it is reached by " + theirs + ", which belongs to user 1000, who can make it lead elsewhere (unavailable)",
		theirs + "/not/yet":               "it is reached by " + theirs,
		loose + "/root":                   "it is reached by " + loose + ", in which others can rename it, its mode is drwxrwxrwx (unavailable): chmod go-w " + loose,
		prepare("loose/own/a", 0o700, 0):  "it is reached by " + loose,
		link("way", good, other) + "/a":   "it is reached by " + dir + "/way, which belongs to user 1000",
		link("to", "theirs", 0) + "/a":    "it is reached by " + theirs,
		link("loop", "loop", 0) + "/a":    "it is reached by the link " + dir + "/loop, which leads nowhere",
		planted:                           planted + "/state belongs to user 1000",
		prepare("shared/x", 0o700, other): "belongs to user 1000",
	} {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.Nil(t, e)
		require.ErrorIs(t, err, ctor.ErrUnavailable, root)
		require.ErrorContains(t, err, "open engine: root "+root)
		require.ErrorContains(t, err, says)
		if root != planted {
			require.NoFileExists(t, filepath.Join(root, "lock"))
		}
	}
	for _, root := range []string{
		good, prepare("readable", 0o755, 0), prepare("shared/own", 0o700, 0), shared + "/new/root",
		link("fine", "good", 0) + "/below", link("shared/up", "../good/../good", 0) + "/other",
	} {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
	// What is empty holds nothing of anybody's, and is closed.
	empty := prepare("empty", 0o777, 0)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: empty})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	info, err := os.Stat(empty)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode().Perm())
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := filepath.Join(t.TempDir(), "root")
	_, err := ctor.Open(ctx, ctor.Config{Root: root})
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, root)
}

// A store that can't be read is an error, and the root is free again.
func TestOpenDamaged(t *testing.T) {
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root})
	require.NoError(t, e.Close())
	db := filepath.Join(root, "containerd/io.containerd.metadata.v1.bolt/meta.db")
	whole, err := os.ReadFile(db)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(db, []byte(strings.Repeat("no database\n", 5000)), 0o600))
	before := fixture.Measure(t)
	_, err = ctor.Open(t.Context(), ctor.Config{Root: root})
	require.ErrorContains(t, err, "open engine: start io.containerd.metadata.v1.bolt: invalid database")
	before.Same(t)
	require.NoError(t, os.WriteFile(db, whole, 0o600))
	fixture.Engine(t, ctor.Config{Root: root})
}

// Images outlive the engine that made them.
func TestReopen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root})
	want := fixture.Busybox(t, e).Digest()
	require.NoError(t, e.Close())
	e = fixture.Engine(t, ctor.Config{Root: root})
	img, err := image.Get(t.Context(), e, "ctor.test/busybox:1")
	require.NoError(t, err)
	require.Equal(t, want, img.Digest())
}

func TestDefaultRoot(t *testing.T) {
	fixture.NeedsHost(t)
	require.Equal(t, "/var/lib/ctor", ctor.DefaultRoot())
}

// A root's name means nothing but itself, and may be longer than a socket's path,
// which may have no more than 107 bytes.
func TestRootNames(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two engines")
	}
	for _, name := range []string{"a [b] *?", strings.Repeat("long/", 50)} {
		t.Run(name[:5], func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), name)
			e := fixture.Engine(t, ctor.Config{Root: root})
			require.Equal(t, "hi\n", fixture.Echo(t, e, "attached", "hi"))
			_, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Name: "detached", Args: []string{"sleep", "1000"}, Detach: true})
			require.NoError(t, err)
			require.NoError(t, e.Close())

			require.NoError(t, fixture.Running(t, fixture.Engine(t, ctor.Config{Root: root}), "detached").Close())
			require.Empty(t, fixture.Host(t, root)["mounts"])
		})
	}
}
