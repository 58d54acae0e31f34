package rootfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// deep makes a directory far deeper than a path can be long, and than a
// program may have files open.
func deep(t testing.TB, dir string, levels int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range levels {
		require.NoError(t, unix.Mkdirat(at, "down", 0o755))
		next, err := unix.Openat(at, "down", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(at))
		at = next
	}
	require.NoError(t, unix.Close(at))
}

func TestRemoveDeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/deep", 0o755))
	deep(t, dir+"/deep", 3000)
	r := at(t, dir)
	var tooLong error
	for name := "deep"; tooLong == nil; name += "/down/down/down/down" {
		_, tooLong = r.Stat(name)
	}
	require.ErrorIs(t, tooLong, unix.ENAMETOOLONG)
	require.NoError(t, r.RemoveAll(t.Context(), "deep"))
	require.NoDirExists(t, dir+"/deep")
}

// More directories than the program may have files open are no obstacle.
func TestDiscard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/layer/fs", 0o755))
	require.NoError(t, os.WriteFile(dir+"/layer/fs/file", nil, 0o644))
	deep(t, dir+"/layer/fs", 3000)
	require.NoError(t, rootfs.Discard(dir+"/layer"))
	require.NoDirExists(t, dir+"/layer")
	require.NoError(t, rootfs.Discard(dir+"/layer"))
	require.NoError(t, rootfs.Discard(dir+"/not/there"))
}

// Many files, of all kinds, and names that io/fs can't say.
func TestRemoveAllKinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	base := dir + "/some/tree"
	require.NoError(t, os.MkdirAll(base, 0o755))
	for i := range 3000 {
		require.NoError(t, os.WriteFile(fmt.Sprint(base, "/", i), nil, 0o644))
		if i%10 == 0 {
			require.NoError(t, os.MkdirAll(fmt.Sprint(base, "/d", i, "/e"), 0o755))
		}
	}
	require.NoError(t, unix.Mkfifo(base+"/fifo", 0o644))
	require.NoError(t, unix.Mknod(base+"/null", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
	require.NoError(t, os.Mkdir(base+"/\xff\n", 0o000))
	require.NoError(t, os.Symlink("/", base+"/root"))
	require.NoError(t, os.WriteFile(dir+"/stays", nil, 0o644))
	r := at(t, dir)
	require.Error(t, r.RemoveAll(t.Context(), "."))
	require.Error(t, r.RemoveAll(t.Context(), "/"))
	require.NoError(t, r.RemoveAll(t.Context(), "some"))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// What can't be removed is told, and the rest is removed all the same.
func TestRemoveRest(t *testing.T) {
	t.Parallel()
	dir, mounted := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/tree/mount", 0o755))
	require.NoError(t, os.MkdirAll(dir+"/tree/other/x", 0o755))
	require.NoError(t, os.WriteFile(mounted+"/file", nil, 0o644))
	require.NoError(t, unix.Mount(mounted, dir+"/tree/mount", "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir+"/tree/mount", unix.MNT_DETACH)) })
	r := at(t, dir)
	require.ErrorIs(t, r.RemoveAll(t.Context(), "tree"), unix.EBUSY)
	require.FileExists(t, mounted+"/file")
	require.NoDirExists(t, dir+"/tree/other")
}

// A container moves a directory away while it is gone through, to where there
// are things it may not remove itself: they stay. At the end the directory is
// gone, or an error says why not.
func TestRemoveMoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := at(t, dir)
	var moved int
	for range 200 {
		require.NoError(t, os.MkdirAll(dir+"/tree/a/b/c/d/e", 0o755))
		require.NoError(t, os.MkdirAll(dir+"/shared/keep/this", 0o755))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for os.Rename(dir+"/tree/a/b", dir+"/shared/b") != nil {
				if _, err := os.Lstat(dir + "/tree"); err != nil {
					return
				}
			}
		}()
		err := r.RemoveAll(t.Context(), "tree")
		<-done
		require.DirExists(t, dir+"/shared/keep/this")
		if err != nil {
			require.ErrorContains(t, err, "moved meanwhile")
		} else {
			require.NoDirExists(t, dir+"/tree")
		}
		if _, err := os.Lstat(dir + "/shared/b"); err == nil {
			moved++
		}
		require.NoError(t, r.RemoveAll(t.Context(), "tree"))
		require.NoError(t, r.RemoveAll(t.Context(), "shared/b"))
	}
	t.Log("moved", moved, "of 200 times")
}

// Somebody makes files faster than they can be removed: that ends as well.
func TestRemoveGrowing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := at(t, dir)
	stop, done := make(chan struct{}), make(chan struct{})
	require.NoError(t, os.Mkdir(dir+"/tree", 0o755))
	go func() {
		defer close(done)
		for i := 0; ; i = (i + 1) % 500 { // else there are ever more, the longer it takes
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(fmt.Sprint(dir, "/tree/", i), nil, 0o600)
				_ = os.MkdirAll(fmt.Sprint(dir, "/tree/d/", i), 0o700)
			}
		}
	}()
	for range 20 {
		for {
			if _, err := os.Lstat(dir + "/tree/d"); err == nil {
				break
			}
			_ = os.Mkdir(dir+"/tree", 0o755)
		}
		_ = r.RemoveAll(t.Context(), "tree")
	}
	close(stop)
	<-done
	require.NoError(t, r.RemoveAll(t.Context(), "tree"))
}

// A file that must not be changed, and a directory, is no obstacle to the host.
func TestDiscardImmutable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "layer")
	require.NoError(t, os.MkdirAll(dir+"/a/b", 0o755))
	for _, name := range []string{"/a/b/file", "/a/file", "/file"} {
		require.NoError(t, os.WriteFile(dir+name, nil, 0o644))
	}
	set := func(attribute string, names ...string) {
		for _, name := range names {
			out, err := exec.Command("chattr", attribute, dir+name).CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("chattr", "-R", "-ia", dir).Run() })
	set("+i", "/a/b/file", "/a/b", "/file")
	set("+a", "/a/file", "/a", "")
	require.Error(t, os.RemoveAll(dir))
	require.ErrorIs(t, at(t, dir).RemoveAll(t.Context(), "a"), fs.ErrPermission, "the container's own removal is as good as its own")
	require.NoError(t, rootfs.Discard(dir))
	require.NoDirExists(t, dir)
}
