package quota

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A full project is full, and what is beside it is not.
func TestQuota(t *testing.T) {
	dir := t.TempDir()
	disk, at := filepath.Join(dir, "disk"), filepath.Join(dir, "at")
	require.NoError(t, os.Mkdir(at, 0o700))
	f, err := os.Create(disk)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(64<<20))
	require.NoError(t, f.Close())
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", disk).CombinedOutput()
	if err != nil {
		t.Skipf("this host can't make the file system: %s", out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", disk, at).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no quotas: %s", out)
	}
	defer func() { require.NoError(t, exec.Command("umount", at).Run()) }()
	one, two, beside := filepath.Join(at, "one"), filepath.Join(at, "two"), filepath.Join(at, "beside")
	for _, d := range []string{one, two, beside} {
		require.NoError(t, os.Mkdir(d, 0o700))
	}
	project, err := Set(4<<20, one, two)
	require.NoError(t, err)
	write := func(name string, size int) error { return os.WriteFile(name, make([]byte, size), 0o600) }
	require.NoError(t, write(filepath.Join(one, "x"), 3<<20))
	require.ErrorIs(t, write(filepath.Join(two, "x"), 2<<20), unix.EDQUOT)
	require.NoError(t, write(filepath.Join(beside, "x"), 8<<20))
	require.NoError(t, os.RemoveAll(one))
	require.NoError(t, os.RemoveAll(two))
	require.NoError(t, Drop(at, project))
	d, err := os.Open(at)
	require.NoError(t, err)
	defer d.Close()
	q, err := get(d, project)
	require.NoError(t, err)
	require.Zero(t, q.hard)
	require.Zero(t, q.used)
}

func TestNoQuota(t *testing.T) {
	dir := "/dev/shm"
	_, err := Set(1<<20, dir)
	require.ErrorIs(t, err, ErrUnsupported)
}
