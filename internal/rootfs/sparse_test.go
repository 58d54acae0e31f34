package rootfs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// holed makes a file of a size that has some bytes at each of some places.
func holed(t testing.TB, name string, size int64, at ...int64) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(size))
	for _, off := range at {
		_, err := f.WriteAt([]byte(fmt.Sprint("at ", off)), off)
		require.NoError(t, err)
	}
}

// sparses makes a tree of sparse files, other ones among them.
func sparses(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	const MiB = 1 << 20
	holed(t, dir+"/middle", 9*MiB+5, 0, 8*MiB)
	holed(t, dir+"/begin", 3*MiB, 3*MiB-6)
	holed(t, dir+"/nothing", 5*MiB)
	holed(t, dir+"/almost", 2*MiB-1, MiB)
	holed(t, dir+"/many", 30*MiB, 3*MiB, 7*MiB+4095, 15*MiB, 16*MiB+1, 28*MiB)
	holed(t, dir+"/"+strings.Repeat("long", 60), 4*MiB, 0)
	holed(t, dir+"/ünicode\n", 4*MiB, 2*MiB)
	require.NoError(t, os.WriteFile(dir+"/small", []byte("small"), 0o600))
	require.NoError(t, os.Chown(dir+"/middle", 1<<31, 3_000_000))
	require.NoError(t, os.Chmod(dir+"/middle", 0o751))
	require.NoError(t, os.Chtimes(dir+"/begin", time.Time{}, time.Unix(1234567890, 123456789)))
	require.NoError(t, unix.Setxattr(dir+"/many", "user.note", []byte("of \x00 any bytes\n=\xff"), 0))
	require.NoError(t, os.Link(dir+"/many", dir+"/other"))
	return dir
}

// blocks is how much the files of a directory take up.
func blocks(t testing.TB, dir string) (all int64) {
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, d := range list {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(dir+"/"+d.Name(), &st))
		all += st.Blocks * 512
	}
	return all
}

// A sparse file stays what it is, in all ways in and out, and costs what it
// holds.
func TestSparse(t *testing.T) {
	t.Parallel()
	src := sparses(t)
	packed := tarred(t, at(t, src), ".")
	require.Less(t, len(packed), 1<<20+3<<20, "only what is in the files, and one hole that is not worth it")
	for name, unpack := range map[string]func(t *testing.T, dst string){
		"ours": func(t *testing.T, dst string) {
			require.NoError(t, at(t, dst).Unpack(t.Context(), ".", bytes.NewReader(packed)))
		},
		"ours by tar": func(t *testing.T, dst string) { run(t, packed, "-xp", "-C", dst) },
		"tar's by us": func(t *testing.T, dst string) {
			require.NoError(t, at(t, dst).Unpack(t.Context(), "/", bytes.NewReader(run(t, nil, "-cS", "-C", src, "."))))
		},
		"old tar's by us": func(t *testing.T, dst string) {
			old, err := exec.Command("tar", "-cS", "--format=gnu", "-C", src, ".").Output()
			require.NoError(t, err)
			require.NoError(t, at(t, dst).Unpack(t.Context(), "/", bytes.NewReader(old)))
		},
		"copy": func(t *testing.T, dst string) { require.NoError(t, at(t, dst).Copy(t.Context(), ".", os.DirFS(src))) },
		"containerd's": func(t *testing.T, dst string) {
			_, err := archive.Apply(t.Context(), dst, bytes.NewReader(packed))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			unpack(t, dst)
			switch name {
			case "old tar's by us", "copy": // no attributes and times; no names that are no text
				for _, name := range []string{"middle", "begin", "nothing", "almost", "many"} {
					same(t, src+"/"+name, dst+"/"+name)
				}
			default:
				list, err := os.ReadDir(src)
				require.NoError(t, err)
				for _, d := range list {
					same(t, src+"/"+d.Name(), dst+"/"+d.Name())
					require.Equal(t, about(t, src+"/"+d.Name()), about(t, dst+"/"+d.Name()), "%q", d.Name())
				}
			}
			if name != "containerd's" {
				require.Less(t, blocks(t, dst), blocks(t, src)+10<<20)
			}
		})
	}
}

// about is what a tar says of a file beside its content.
func about(t testing.TB, name string) string {
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(name, &st))
	note := make([]byte, 100)
	n, _ := unix.Getxattr(name, "user.note", note)
	return fmt.Sprintf("%o %d %d %d %v %q", st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim, note[:max(n, 0)])
}

func same(t testing.TB, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	require.NoError(t, err)
	y, err := os.ReadFile(b)
	require.NoError(t, err)
	require.True(t, bytes.Equal(x, y), "%q", a)
}

// Whatever holes a file has, what is read of its tar is what is in the file.
func TestSparseRandom(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	r := rand.New(rand.NewPCG(0, uint64(seed)))
	dir := t.TempDir()
	for range 20 {
		size := 1<<20 + r.Int64N(40<<20)
		var some []int64
		for range r.IntN(30) {
			some = append(some, r.Int64N(size))
		}
		slices.Sort(some)
		holed(t, dir+"/file", size, some...)
		var b bytes.Buffer
		require.NoError(t, at(t, dir).Pack(t.Context(), "file", &b))
		in := tar.NewReader(&b)
		hdr, err := in.Next()
		require.NoError(t, err, seed)
		require.Equal(t, "file", hdr.Name)
		got, err := io.ReadAll(in)
		require.NoError(t, err, seed)
		want, err := os.ReadFile(dir + "/file")
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "seed %d", seed)
		_, err = in.Next()
		require.ErrorIs(t, err, io.EOF, seed)
	}
}

// Of more holes than are kept track of the smallest are given up.
func TestFewerHoles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var list []rootfs.Extent
		at := int64(0)
		for range 1 + r.IntN(50) {
			start := at + 1 + r.Int64N(5)
			at = start + 1 + r.Int64N(5)
			list = append(list, rootfs.NewExtent(start, at))
		}
		most := 1 + r.IntN(50)
		given := holesOf(list)
		short := rootfs.Fewer(slices.Clone(list), most)
		require.Len(t, short, min(most, len(list)))
		require.Equal(t, list[0].Start(), short[0].Start())
		require.Equal(t, list[len(list)-1].End(), short[len(short)-1].End())
		kept := holesOf(short)
		slices.Sort(given)
		slices.Sort(kept)
		require.Equal(t, given[len(given)-len(kept):], kept)
	}
}

func holesOf(list []rootfs.Extent) (holes []int64) {
	holes = []int64{}
	for i := range list[1:] {
		holes = append(holes, list[i+1].Start()-list[i].End())
	}
	return holes
}

// A layer has a file without its holes only where nothing could be done with it
// else; and whether one was changed is found out without reading them.
func TestSparseLayer(t *testing.T) {
	t.Parallel()
	before, after := t.TempDir(), t.TempDir()
	const GiB = 1 << 30
	holed(t, after+"/lastlog", 300*GiB, 290*GiB)
	holed(t, after+"/small", 8<<20, 0)
	since := time.Now().Add(-time.Second)
	for _, dir := range []string{before, after} { // the same size and time, and touched
		holed(t, dir+"/same", 500*GiB, 0, 400*GiB)
		holed(t, dir+"/changed", 500*GiB, 0, 400*GiB)
	}
	f, err := os.OpenFile(after+"/changed", os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 400*GiB)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, dir := range []string{before, after} {
		for _, name := range []string{"same", "changed"} {
			require.NoError(t, os.Chtimes(dir+"/"+name, time.Time{}, time.Unix(1234567890, 0)))
		}
	}
	d := &rootfs.Diff{Before: at(t, before), After: at(t, after), Since: since}
	defer d.Close()
	var b bytes.Buffer
	require.NoError(t, d.Pack(t.Context(), &b))
	require.Less(t, b.Len(), 9<<20)
	sizes := map[string]int64{}
	in := tar.NewReader(&b)
	for hdr, err := in.Next(); err != io.EOF; hdr, err = in.Next() {
		require.NoError(t, err)
		sizes[hdr.Name] = hdr.Size
		require.Equal(t, hdr.Name != "small", hdr.PAXRecords["GNU.sparse.major"] == "1", hdr.Name)
	}
	require.Equal(t, map[string]int64{"lastlog": 300 * GiB, "small": 8 << 20, "changed": 500 * GiB}, sizes)
}
