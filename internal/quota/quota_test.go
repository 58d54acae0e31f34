package quota

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A full project is full, and what is beside it is not.
func TestQuota(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctor-quota-") // t.TempDir is for root alone
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
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
		require.NoError(t, os.Chmod(d, 0o777))
	}
	project, err := Set(4<<20, one, two)
	require.NoError(t, err)
	// As a user: ext4 lets CAP_SYS_RESOURCE pass, which no container has.
	write := func(dir string, mebibytes int) string {
		require.NoError(t, os.Chmod(at, 0o755))
		cmd := exec.Command("dd", "if=/dev/zero", "of=x", "bs=1M", fmt.Sprintf("count=%d", mebibytes))
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	require.NotContains(t, write(one, 3), "error")
	require.Contains(t, write(two, 2), unix.EDQUOT.Error()[1:])
	require.NotContains(t, write(beside, 8), "error")
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
