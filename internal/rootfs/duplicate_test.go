package rootfs_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// over is an overlay that has written into a directory.
func over(t testing.TB, upper string, lower ...string) []mount.Mount {
	return []mount.Mount{rootfs.Over(overlay(t, lower)[0], upper, t.TempDir())}
}

// exact describes a tree with all attributes, overlay's as well.
func exact(t testing.TB, top string) map[string]string {
	t.Helper()
	all := listed(t, top, then.AddDate(1000, 0, 0))
	require.NoError(t, filepath.WalkDir(top+"/.", func(at string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(at, &st))
		name, err := filepath.Rel(top, at)
		require.NoError(t, err)
		var marks [2]byte
		n, _ := unix.Lgetxattr(at, "trusted.overlay.opaque", marks[:])
		all[name] += fmt.Sprintf(" %d %d %q", st.Nlink, st.Size, marks[:max(n, 0)])
		return nil
	}))
	return all
}

// A copy of a layer is the layer, to the last attribute, and shows the same over the same
// layers.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	lower := images(t)
	upper := rich(t)
	for _, err := range []error{
		unix.Setxattr(upper+"/a", "trusted.overlay.opaque", []byte("y"), 0),
		unix.Mknod(upper+"/whiteout", unix.S_IFCHR, 0),
		unix.Mknod(upper+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(upper+"/socket", unix.S_IFSOCK|0o600, 0),
		os.Truncate(upper+"/a/other", 1<<40),
		os.Chmod(upper, 0o751|fs.ModeSticky),
		os.Chown(upper, 5, 6),
		os.Chtimes(upper, then, then),
	} {
		require.NoError(t, err)
	}
	require.NoError(t, os.Truncate(upper+"/a/other", 1<<20)) // listed reads all of it
	for what, below := range map[string][]string{"overlay": lower, "alone": nil} {
		var from, to []mount.Mount
		if below != nil {
			from, to = over(t, upper, below...), overlay(t, below)
		} else {
			from = []mount.Mount{{Type: "bind", Source: upper, Options: []string{"rbind", "rw"}}}
			to = []mount.Mount{{Type: "bind", Source: filepath.Join(t.TempDir(), "fs"), Options: []string{"rbind", "rw"}}}
			require.NoError(t, os.Mkdir(to[0].Source, 0o755))
		}
		at := to[0].Source
		if below != nil {
			at = upperOf(to)
		}
		before, beside := exact(t, upper), filesOf(t, filepath.Dir(at))
		require.NoError(t, rootfs.Duplicate(t.Context(), to, from), what)
		require.Equal(t, before, exact(t, at), what)
		require.Equal(t, before, exact(t, upper), "what is copied stays as it is")
		require.Equal(t, beside, filesOf(t, filepath.Dir(at)), "nothing stays beside it")
		if below != nil {
			views := [2]map[string]string{}
			for n, m := range [][]mount.Mount{from, to} {
				r, err := rootfs.OpenWhole(m, t.TempDir())
				require.NoError(t, err)
				defer r.Close()
				views[n] = listed(t, r.Path(), then.AddDate(1000, 0, 0))
			}
			require.Equal(t, views[0], views[1])
		}
	}
}

func filesOf(t testing.TB, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// descend gives the directory at the bottom of what deep has made.
func descend(t testing.TB, dir string, levels int) int {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range levels {
		next, err := unix.Openat(at, "down", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(at))
		at = next
	}
	t.Cleanup(func() { unix.Close(at) })
	return at
}

// Neither depth nor size is an obstacle, and the end of ctx is one.
func TestDuplicateBounds(t *testing.T) {
	t.Parallel()
	upper, lower := t.TempDir(), t.TempDir()
	deep(t, upper, 3000)
	down := descend(t, upper, 3000)
	require.NoError(t, unix.Mknodat(down, "a", unix.S_IFREG|0o600, 0))
	require.NoError(t, unix.Linkat(down, "a", down, "b", 0))
	require.NoError(t, os.WriteFile(upper+"/holes", nil, 0o600))
	require.NoError(t, os.Truncate(upper+"/holes", 1<<42))
	from, to := over(t, upper, lower), overlay(t, []string{lower})
	require.NoError(t, rootfs.Duplicate(t.Context(), to, from))
	down = descend(t, upperOf(to), 3000)
	var st unix.Stat_t
	for _, name := range []string{"a", "b"} {
		require.NoError(t, unix.Fstatat(down, name, &st, 0))
		require.Equal(t, uint64(2), st.Nlink)
	}
	require.NoError(t, unix.Stat(upperOf(to)+"/holes", &st))
	require.Equal(t, int64(1<<42), st.Size)
	require.Less(t, st.Blocks, int64(1<<10))

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	to = overlay(t, []string{lower})
	require.ErrorIs(t, rootfs.Duplicate(canceled, to, from), context.Canceled)
}

// A container that puts links in the place of directories, as fast as it can, gets
// nothing of the host into the copy.
func TestDuplicateStaysInside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for n := range 50 {
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/secret%d", outside, n), []byte("secret"), 0o600))
	}
	upper, lower := t.TempDir(), t.TempDir()
	for _, dir := range []string{"a", "b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(upper, dir, "x", "y"), 0o755))
	}
	require.NoError(t, os.Symlink(outside, upper+"/link"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				for _, name := range []string{"/a", "/b/x", "/a/x/y"} {
					_ = unix.Renameat2(unix.AT_FDCWD, upper+name, unix.AT_FDCWD, upper+"/link", unix.RENAME_EXCHANGE)
				}
			}
		}
	}()
	for range 300 {
		to := overlay(t, []string{lower})
		_ = rootfs.Duplicate(t.Context(), to, over(t, upper, lower)) // an error is in order
		require.NoError(t, filepath.WalkDir(upperOf(to), func(name string, _ fs.DirEntry, err error) error {
			require.NotContains(t, name, "secret")
			return err
		}))
	}
	close(stop)
	<-stopped
}

// An error says where it is.
func TestDuplicateErrors(t *testing.T) {
	t.Parallel()
	upper, lower := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(upper+"/some/where", 0o755))
	require.NoError(t, os.WriteFile(upper+"/some/where/file", nil, 0o600))
	to := overlay(t, []string{lower})
	require.NoError(t, os.MkdirAll(upperOf(to)+"/some", 0o755))
	err := rootfs.Duplicate(t.Context(), to, over(t, upper, lower))
	require.ErrorIs(t, err, unix.EEXIST)
	require.True(t, strings.HasPrefix(err.Error(), "/some: "), err)
	require.ErrorContains(t, rootfs.Duplicate(t.Context(), over(t, upper, lower)[:0], to), "neither a directory nor an overlay")
}
