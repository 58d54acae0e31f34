package rootfs_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// All that is put into the trash is discarded, also beyond what may wait.
func TestTrash(t *testing.T) {
	dir := t.TempDir()
	var trash rootfs.Trash
	require.NoError(t, trash.Empty(), "there is nothing in it")
	for n := range 300 {
		d := filepath.Join(dir, strconv.Itoa(n))
		require.NoError(t, os.MkdirAll(filepath.Join(d, "a", "b"), 0o700))
		trash.Put(d)
	}
	trash.Put(filepath.Join(dir, "none"))
	require.NoError(t, trash.Empty())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// What can't be discarded is told, and tried again.
func TestTrashStuck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stuck")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	var trash rootfs.Trash
	trash.Put(dir)
	require.ErrorContains(t, trash.Empty(), dir)
	require.ErrorContains(t, trash.Empty(), dir)
	require.NoError(t, unix.Unmount(dir, 0))
	require.NoError(t, trash.Empty())
	require.NoDirExists(t, dir)
}
