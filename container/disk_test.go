package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// A container that fills its disk is stopped, by the kernel or by its program, and
// its neighbours write on.
func TestDiskLimit(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	cfg := sh("[ -e /stop ] && exit 7; while dd if=/dev/zero of=/full bs=1M count=64 2>/dev/null; do sleep 0.1; done; exit 7")
	cfg.Limits.Disk = 8 << 20
	c := containertest.Run(t, img, cfg)
	beside := start(t, img, sh("dd if=/dev/zero of=/x bs=1M count=32 2>/dev/null && echo ready; sleep 1000"))
	e := exitOf(t, c)
	if e.Code == 7 {
		require.False(t, e.DiskExceeded, "the kernel has refused")
		return
	}
	require.True(t, e.DiskExceeded)
	require.Equal(t, 137, e.Code)
	require.ErrorContains(t, e, "more on the disk than it may have")
	require.True(t, info(t, c).DiskExceeded)
	require.Equal(t, container.Running, info(t, beside).State)

	// What it has goes on counting in the next life, and what it gives back does not.
	require.NoError(t, c.Start(t.Context()))
	require.True(t, exitOf(t, c).DiskExceeded)
	require.NoError(t, c.FS().Remove("full"))
	require.NoError(t, c.FS().WriteFile("stop", nil, 0o644))
	require.NoError(t, c.Start(t.Context()))
	e = exitOf(t, c)
	require.False(t, e.DiskExceeded)
	require.Equal(t, 7, e.Code)
	require.False(t, info(t, c).DiskExceeded)

	cfg.Limits.Disk = 1
	_, err := img.New(t.Context(), cfg)
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

// Where the file system has project quotas the kernel stops the container, also a
// detached one, and nothing of the bound is left behind.
func TestDiskQuota(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk, at := filepath.Join(dir, "disk"), filepath.Join(dir, "at")
	require.NoError(t, os.Mkdir(at, 0o700))
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, 256<<20))
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", disk).CombinedOutput(); err != nil {
		t.Skipf("this host can't make the file system: %s", out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", disk, at).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no quotas: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", at).Run()) })
	e, err := ctor.Open(t.Context(), ctor.Config{Root: filepath.Join(at, "root")})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	cfg := sh("dd if=/dev/zero of=/full bs=1M count=64 || exit 7")
	cfg.Limits.Disk = 8 << 20
	beside, err := fixture.Busybox(t, e).Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	for _, detach := range []bool{false, true} {
		cfg.Detach = detach
		c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, 7, exitOf(t, c).Code)
		require.Contains(t, logs(t, c), "Disk quota exceeded")
		out, err := beside.Command(t.Context(), "dd", "if=/dev/zero", "of=/x", "bs=1M", "count=32").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, c.Remove(t.Context()))
	}
	require.NoError(t, beside.Close())
}
