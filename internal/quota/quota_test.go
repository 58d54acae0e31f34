package quota

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk mounts a file system of its own that was made by a command, with project quotas on.
func disk(t *testing.T, mkfs ...string) (at string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctor-quota-") // t.TempDir is for root alone
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	image, at := filepath.Join(dir, "disk"), filepath.Join(dir, "at")
	require.NoError(t, os.Mkdir(at, 0o755))
	f, err := os.Create(image)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(512<<20))
	require.NoError(t, f.Close())
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Skipf("this host can't make the file system: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, at).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no quotas: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", at).Run()) })
	require.NoError(t, os.Chmod(at, 0o755))
	return at
}

// asUser runs a script in a directory, and gives what it says. A file system lets
// CAP_SYS_RESOURCE pass, which no container has.
func asUser(dir, script string) string {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// A full project is full, of bytes or of files, and what is beside it is not.
func TestQuota(t *testing.T) {
	for name, fs := range map[string]struct {
		mkfs []string
		full unix.Errno
	}{
		"ext4": {[]string{"mke2fs", "-q", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota"}, unix.EDQUOT},
		"xfs":  {[]string{"mkfs.xfs", "-q"}, unix.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			at := disk(t, fs.mkfs...)
			one, two, beside := filepath.Join(at, "one"), filepath.Join(at, "two"), filepath.Join(at, "beside")
			for _, d := range []string{one, two, beside} {
				require.NoError(t, os.Mkdir(d, 0o700))
				require.NoError(t, os.Chmod(d, 0o777))
			}
			full := fs.full.Error()[1:]
			const bound = 8 << 20
			project, err := Set(bound, one, two)
			require.NoError(t, err)
			write := func(mebibytes int) string {
				return fmt.Sprintf("dd if=/dev/zero of=x bs=1M count=%d", mebibytes)
			}
			require.NotContains(t, asUser(one, write(6)), full)
			require.Contains(t, asUser(two, write(4)), full)
			require.NotContains(t, asUser(beside, write(16)), full)
			require.NotContains(t, asUser(one, "rm x"), full)
			require.NotContains(t, asUser(two, "rm -f x"), full)

			touch := func(files int64) string {
				return fmt.Sprintf("i=0; while [ $i -lt %d ]; do : >f$i || exit; i=$((i+1)); done", files)
			}
			require.NotContains(t, asUser(one, touch(Files(bound)/2)), full)
			require.Contains(t, asUser(two, touch(Files(bound))), full)
			require.NotContains(t, asUser(beside, touch(Files(bound)+10)), full)

			require.NoError(t, os.RemoveAll(one))
			require.NoError(t, os.RemoveAll(two))
			require.NoError(t, Drop(at, project))
			d, err := os.Open(at)
			require.NoError(t, err)
			defer d.Close()
			require.Eventually(t, func() bool { // xfs gives up files in its own time
				q, err := get(d, project)
				return err == nil && q == block{valid: q.valid}
			}, time.Minute, 10*time.Millisecond)
		})
	}
}

func TestNoQuota(t *testing.T) {
	dir := "/dev/shm"
	_, err := Set(1<<20, dir)
	require.ErrorIs(t, err, ErrUnsupported)
}
