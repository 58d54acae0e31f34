package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What Sub mounts is what the kernel shows of the whole, name for name.
func TestSub(t *testing.T) {
	dir := t.TempDir()
	layer := func(name string, files ...string) string {
		at := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(at, 0o755))
		for _, f := range files {
			file, target, link := strings.Cut(f, "->")
			p := filepath.Join(at, strings.TrimLeft(file, "!="))
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			switch {
			case strings.HasPrefix(f, "!"): // removed
				require.NoError(t, unix.Mknod(p, unix.S_IFCHR, 0))
			case strings.HasPrefix(f, "="): // made once more
				require.NoError(t, os.MkdirAll(p, 0o755))
				require.NoError(t, unix.Setxattr(p, "trusted.overlay.opaque", []byte("y"), 0))
			case link:
				require.NoError(t, os.Symlink(target, p))
			default:
				require.NoError(t, os.WriteFile(p, []byte(name+"/"+f), 0o644))
			}
		}
		return at
	}
	lower := []string{
		layer("top", "d/one", "!d/gone", "=again", "again/new", "file", "!dir", "d/e/top"),
		layer("mid", "d/two", "d/e/mid", "link->d/e", "abs->/d", "dir/below", "up->../../d"),
		layer("low", "d/one", "d/gone", "d/e/low", "again/old", "file/was a directory", "other/x"),
	}
	upper, work := layer("upper", "d/e/upper", "!other"), layer("work")
	names := []string{"/", "d", "d/e", "link", "abs", "abs/e", "again", "file", "d/one", "d/two", "up", "link/low"}
	for _, m := range []mount.Mount{
		{Type: "overlay", Source: "overlay", Options: []string{lowerOption(lower), "index=off"}},
		{Type: "overlay", Source: "overlay", Options: []string{lowerOption(lower), "index=off", "upperdir=" + upper, "workdir=" + work}},
		{Type: "bind", Source: lower[1], Options: []string{"rbind", "rw"}},
	} {
		for _, m := range []mount.Mount{m, ReadOnly(m)} {
			whole, err := OpenWhole([]mount.Mount{m}, t.TempDir())
			require.NoError(t, err)
			defer whole.Close()
			for _, name := range names {
				st, err := whole.Stat(name)
				sub, serr := Sub(m, t.TempDir(), name)
				if err != nil {
					require.ErrorIs(t, serr, fs.ErrNotExist, name)
					continue
				}
				require.NoError(t, serr, name)
				if !st.IsDir() {
					want, err := whole.ReadFile(name)
					require.NoError(t, err)
					got, err := os.ReadFile(sub.Source)
					require.NoError(t, err)
					require.Equal(t, string(want), string(got))
					continue
				}
				part, err := OpenWhole([]mount.Mount{sub}, t.TempDir())
				require.NoError(t, err)
				require.Equal(t, listed(t, whole, name), listed(t, part, "/"), name)
				require.NoError(t, part.Close())
			}
			for _, name := range []string{"d/gone", "dir", "dir/below", "other", "nosuch"} {
				_, err := whole.Stat(name)
				_, serr := Sub(m, t.TempDir(), name)
				require.Equal(t, err == nil, serr == nil, name)
			}
		}
	}
}

// listed gives the names and contents of what is below a directory.
func listed(t *testing.T, r *Root, name string) (list []string) {
	entries, err := r.ReadDir(name)
	require.NoError(t, err)
	for _, e := range entries {
		at := path.Join(name, e.Name())
		if e.IsDir() {
			for _, below := range listed(t, r, at) {
				list = append(list, e.Name()+"/"+below)
			}
			continue
		}
		b, _ := r.ReadFile(at)
		list = append(list, fmt.Sprintf("%s %v %s", e.Name(), e.Type(), b))
	}
	return list
}
