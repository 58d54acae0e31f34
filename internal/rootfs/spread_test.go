package rootfs_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// topDir tells of a directory whether it is spread, and whether its file system knows
// such a thing: FS_TOPDIR_FL of linux/fs.h.
func topDir(t *testing.T, dir string) (spread, known bool) {
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	var fs unix.Statfs_t
	require.NoError(t, unix.Fstatfs(int(f.Fd()), &fs))
	return err == nil && flags&0x20000 != 0, fs.Type == unix.EXT4_SUPER_MAGIC
}

func TestSpread(t *testing.T) {
	dir := t.TempDir()
	_, known := topDir(t, dir)
	for range 2 {
		rootfs.Spread(dir)
		spread, _ := topDir(t, dir)
		require.Equal(t, known, spread)
	}
	rootfs.Spread(dir + "/none")
	rootfs.Spread("/proc/self/task")
}
