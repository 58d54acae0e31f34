package container_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestBind(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("host\n"), 0o644))

	cfg := sh("cat /data/file /one; echo more >> /data/file; echo new > /data/new; echo last >> /one")
	cfg.Mounts = []container.Mount{
		{Type: container.Bind, Source: dir, Target: "/data"},
		{Source: file, Target: "/not/there/../../one"},
	}
	require.Equal(t, "host\nhost\n", stdout(t, img, cfg))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "host\nmore\nlast\n", string(b))
	require.FileExists(t, filepath.Join(dir, "new"))

	cfg = sh("cat /data/new; touch /data/x; touch /one; mount -o remount,rw /data")
	cfg.Mounts = []container.Mount{
		{Source: dir, Target: "/data", ReadOnly: true},
		{Source: file, Target: "/one", ReadOnly: true},
	}
	out, eout, err := output(t, img, cfg)
	require.Error(t, err)
	require.Equal(t, "new\n", out)
	require.Contains(t, eout, "/data/x: Read-only file system")
	require.Contains(t, eout, "/one: Read-only file system")
	require.NoFileExists(t, filepath.Join(dir, "x"))
}

// Read-only goes down to what the host has mounted below the source, and
// nothing that a container mounts comes back.
func TestBindReadOnlyBelow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	require.NoError(t, os.Mkdir(below, 0o755))
	require.NoError(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(below, 0)) })
	cfg := sh("touch /data/below/x")
	cfg.Mounts = []container.Mount{{Source: dir, Target: "/data", ReadOnly: true}}
	_, eout, err := output(t, busybox(t), cfg)
	require.Error(t, err)
	require.Contains(t, eout, "Read-only file system")
}

func TestTmpfs(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	cfg := sh("mount | grep 'on /t '; dd if=/dev/zero of=/t/big bs=1M count=5")
	cfg.Mounts = []container.Mount{{Type: container.Tmpfs, Target: "/t", Size: 2 << 20}}
	out, eout, err := output(t, img, cfg)
	require.Error(t, err)
	require.Contains(t, eout, "No space left")
	for _, option := range []string{"nosuid", "nodev", "noexec", "size=2048k"} {
		require.Contains(t, out, option)
	}
	cfg = sh("touch /t/x")
	cfg.Mounts = []container.Mount{{Type: container.Tmpfs, Target: "/t", ReadOnly: true}}
	_, eout, err = output(t, img, cfg)
	require.Error(t, err)
	require.Contains(t, eout, "Read-only file system")
}

func TestTmpfsMode(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	cfg := sh("ls -ld /a /b /c | while read mode rest; do echo $mode; done; cp /bin/busybox /a/true; /a/true && echo executed")
	cfg.Mounts = []container.Mount{
		{Type: container.Tmpfs, Target: "/a", Exec: true},
		{Type: container.Tmpfs, Target: "/b", Mode: 0o750},
		{Type: container.Tmpfs, Target: "/c", Mode: 0o700 | fs.ModeSticky},
	}
	require.Equal(t, "drwxrwxrwt\ndrwxr-x---\ndrwx-----T\nexecuted\n", stdout(t, img, cfg))
}

func TestCreateSource(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "a/b/c")
	cfg := sh("echo x > /data/file")
	cfg.Mounts = []container.Mount{{Source: source, Target: "/data", CreateSource: true}}
	cfg.User = "nobody-there"
	_, err := img.New(t.Context(), cfg)
	require.Error(t, err)
	require.NoDirExists(t, filepath.Join(dir, "a"), "nothing half made")
	cfg.User = ""
	require.Equal(t, "", stdout(t, img, cfg))
	require.FileExists(t, filepath.Join(source, "file"))
	info, err := os.Stat(source)
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode().Perm())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	cfg.Mounts[0].Source = filepath.Join(dir, "f/x")
	_, err = img.New(t.Context(), cfg)
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

// What the host mounts later comes to a container that follows it, and to no other.
func TestPropagation(t *testing.T) {
	t.Parallel()
	img := fixture.Busybox(t, fixture.Open(t)) // its shim starts after the mount below is made
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	below := filepath.Join(dir, "below")
	require.NoError(t, os.Mkdir(below, 0o755))
	run := func(p container.Propagation) *container.Container {
		cfg := sh("echo ready; sleep 1000")
		cfg.Mounts = []container.Mount{{Source: dir, Target: "/data", Propagation: p}}
		return start(t, img, cfg)
	}
	follows, stays := run(container.PropagateSlave), run("")
	require.NoError(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
	require.NoError(t, os.WriteFile(filepath.Join(below, "file"), nil, 0o644))
	require.NoError(t, follows.Command(t.Context(), "ls", "/data/below/file").Run())
	require.Error(t, stays.Command(t.Context(), "ls", "/data/below/file").Run())
	require.NoError(t, unix.Unmount(below, 0))
	require.Error(t, follows.Command(t.Context(), "ls", "/data/below/file").Run())
}

// A command may come out of a mount.
func TestCommandInMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hello"), []byte("#!/bin/sh\necho hello\n"), 0o755))
	for _, command := range []string{"/tools/hello", "hello"} {
		require.Equal(t, "hello\n", stdout(t, busybox(t), container.Config{
			Args:   []string{command},
			Env:    []string{"PATH=/tools:/bin"},
			Mounts: []container.Mount{{Source: dir, Target: "/tools", ReadOnly: true}},
		}))
	}
}
