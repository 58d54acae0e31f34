package container_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/container"
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
