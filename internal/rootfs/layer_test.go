package rootfs_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// entry is one of a layer.
type entry struct {
	tar.Header
	data string
}

var then = time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: then}, data}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o751, Uid: 3, Gid: 4, ModTime: then}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: then}}
}

// hard is a hard link whose header says nothing of the file, as archivers write it.
func hard(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, ModTime: then}}
}

func (e entry) with(f func(h *tar.Header)) entry { f(&e.Header); return e }

func layerOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Format = tar.FormatPAX
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// way is a way to unpack layers.
type way int

// The ways: all into one directory, or each into its own, of which an overlay is
// made, one after the other or as drafts.
const (
	copying way = iota
	overlaying
	drafting
)

var ways = []way{copying, overlaying, drafting}

// joined counts the drafts that could be joined, and the layers.
var joined, drafted atomic.Int64

// draft unpacks a layer without those below, and then joins it with them.
func draft(t testing.TB, below []string, layer []byte) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	drafted.Add(1)
	d, err := rootfs.NewDraft(t.Context(), dir, bytes.NewReader(layer))
	if err == nil {
		err = d.Join(t.Context(), below)
	}
	if err == nil {
		joined.Add(1)
	}
	return dir, err
}

// applied unpacks layers as the snapshotters lay them down, and gives the mounts
// of the whole.
func applied(t testing.TB, how way, layers ...[]byte) ([]mount.Mount, error) {
	t.Helper()
	over := how != copying
	m := []mount.Mount{{Type: "bind", Source: t.TempDir(), Options: []string{"rbind", "rw"}}}
	require.NoError(t, os.Chmod(m[0].Source, 0o755))
	below := []string{m[0].Source}
	for i, l := range layers {
		if how == drafting && i > 0 {
			dir, err := draft(t, below, l)
			if err == nil {
				below = append([]string{dir}, below...)
				continue
			}
			if !errors.Is(err, rootfs.ErrBelow) {
				return nil, err
			}
		}
		if over && i > 0 {
			m = overlay(t, below)
			var st unix.Stat_t // the snapshotter gives a new root its owner
			require.NoError(t, unix.Stat(below[0], &st))
			require.NoError(t, os.Chown(upperOf(m), int(st.Uid), int(st.Gid)))
			require.NoError(t, rootfs.Inherit(m))
			below = append([]string{upperOf(m)}, below...)
		}
		if err := rootfs.Apply(t.Context(), m, bytes.NewReader(l)); err != nil {
			return nil, err
		}
	}
	if over && len(below) > 1 {
		m = []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + strings.Join(below, ":")}}}
	}
	return m, nil
}

func upperOf(m []mount.Mount) string {
	for _, o := range m[0].Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			return dir
		}
	}
	return ""
}

// listed describes a tree, file by file: what it is, mode, owner, time, content,
// attributes, and the first of its names. What was made without a word of a layer
// has the time of the test, which is left out.
func listed(t testing.TB, top string, began time.Time) map[string]string {
	t.Helper()
	all, linked := map[string]string{}, map[uint64][]string{}
	require.NoError(t, filepath.WalkDir(top+"/.", func(at string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(at, &st))
		name, err := filepath.Rel(top, at)
		require.NoError(t, err)
		what := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(at)
			require.NoError(t, err)
			what = fmt.Sprintf("%x", sha256.Sum256(b))[:8]
		case unix.S_IFLNK:
			what, err = os.Readlink(at)
			require.NoError(t, err)
		case unix.S_IFCHR, unix.S_IFBLK:
			what = fmt.Sprintf("%x", st.Rdev)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			linked[st.Ino] = append(linked[st.Ino], name)
		}
		when := ""
		if m := time.Unix(st.Mtim.Unix()); m.Before(began) {
			when = m.UTC().Format(time.RFC3339Nano)
		}
		all[name] = fmt.Sprintf("%o %d:%d %s %q %s", st.Mode, st.Uid, st.Gid, when, attributes(t, at), what)
		return nil
	}))
	for _, names := range linked {
		for _, name := range names {
			if len(names) > 1 { // others may be hidden
				all[name] += " = " + names[0]
			}
		}
	}
	return all
}

func attributes(t testing.TB, at string) (all []string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(at, buf)
	require.NoError(t, err)
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" || strings.Contains(name, ".overlay.") {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(at, name, value)
		require.NoError(t, err)
		all = append(all, name+"="+string(value[:n]))
	}
	slices.Sort(all)
	return all
}

// inAllWays unpacks layers in all ways and gives the tree that all make of them.
func inAllWays(t testing.TB, layers ...[]byte) map[string]string {
	t.Helper()
	began := time.Now().Add(-time.Hour)
	var trees [3]map[string]string
	for i, how := range ways {
		m, err := applied(t, how, layers...)
		require.NoError(t, err)
		trees[i] = listed(t, open(t, m).Path(), began)
	}
	require.Equal(t, trees[0], trees[1], "in a directory, and by overlay")
	require.Equal(t, trees[1], trees[2], "in order, and as drafts")
	return trees[0]
}

func names(tree map[string]string) string {
	var all []string
	for name := range tree {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// What a layer removes is what is below it, in whatever order it says so.
func TestApplyOrder(t *testing.T) {
	low := layerOf(t, dir("d/"), dir("d/e/"), file("d/e/deep", "x"), file("d/old", "o"), file("f", "f"), symlink("l", "d"))
	for name, c := range map[string]struct {
		top  []entry
		want string
	}{
		"directory again":             {[]entry{file(".wh.d", ""), dir("d/"), file("d/new", "n")}, ". d d/new f l"},
		"no entry for it":             {[]entry{file(".wh.d", ""), file("d/new", "n")}, ". d d/new f l"},
		"marker behind the directory": {[]entry{dir("d/"), file("d/new", "n"), file(".wh.d", "")}, ". d d/new f l"},
		"marker behind what is in it": {[]entry{file("d/e/new", "n"), file(".wh.d", "")}, ". d d/e d/e/new f l"},
		"marker behind the file":      {[]entry{file("f", "2"), file(".wh.f", "")}, ". d d/e d/e/deep d/old f l"},
		"marker twice":                {[]entry{file(".wh.f", ""), file(".wh.f", "")}, ". d d/e d/e/deep d/old l"},
		"marker of nothing":           {[]entry{file(".wh.x", ""), file("x/y/.wh.z", ""), file("x/.wh..wh..opq", "")}, ". d d/e d/e/deep d/old f l"},
		"below what is removed":       {[]entry{file(".wh.d", ""), file("d/.wh.old", ""), file("d/e/.wh.deep", "")}, ". f l"},
		"above what is removed":       {[]entry{file("d/e/.wh.deep", ""), file(".wh.d", "")}, ". f l"},
		"through a link":              {[]entry{file("l/.wh.old", ""), file("l/new", "n")}, ". d d/e d/e/deep d/new f l"},
		"opaque":                      {[]entry{dir("d/"), file("d/.wh..wh..opq", ""), file("d/new", "n")}, ". d d/new f l"},
		"opaque behind":               {[]entry{file("d/e/new", "n"), file("d/.wh..wh..opq", "")}, ". d d/e d/e/new f l"},
		"opaque alone":                {[]entry{file("d/.wh..wh..opq", "")}, ". d f l"},
		"opaque behind a marker":      {[]entry{file("d/e/.wh.deep", ""), file("d/e/new", "n"), file("d/.wh.old", ""), file("d/.wh..wh..opq", "")}, ". d d/e d/e/new f l"},
		"opaque root":                 {[]entry{file(".wh..wh..opq", ""), file("new", "n")}, ". new"},
		"opaque root behind":          {[]entry{file("d/new", "n"), file(".wh..wh..opq", "")}, ". d d/new"},
		"file for directory":          {[]entry{file("d", "n")}, ". d f l"},
		"file, then directory":        {[]entry{file("d", "n"), dir("d/")}, ". d f l"},
		"directory for file":          {[]entry{dir("f/"), file("f/x", "")}, ". d d/e d/e/deep d/old f f/x l"},
		"directory for link":          {[]entry{dir("l/"), file("l/x", "")}, ". d d/e d/e/deep d/old f l l/x"},
		"aufs's own":                  {[]entry{dir(".wh..wh.plnk/"), file(".wh..wh.plnk/7.9", ""), file(".wh..wh.aufs", "")}, ". d d/e d/e/deep d/old f l"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, names(inAllWays(t, low, layerOf(t, c.top...))))
		})
	}
}

// A hard link may be to a file of a layer below, has all of the file, and is the
// same file, also beside the names that it had there.
func TestApplyLinks(t *testing.T) {
	low := layerOf(t,
		file("d/f", "f").with(func(h *tar.Header) {
			h.Mode, h.Uid, h.PAXRecords = 0o4755, 33, map[string]string{"SCHILY.xattr.user.x": "y"}
		}), hard("d/g", "d/f"), hard("h", "d/f"), symlink("s", "x"), dir("e/"))
	tree := inAllWays(t, low, layerOf(t, hard("e/new", "d/f"), hard("t", "s"), hard("d/f", "d/f"), hard("e/too", "/e/new"), hard("../../up", "../h")))
	for _, name := range []string{"d/g", "e/new", "e/too", "h", "up"} {
		require.Equal(t, tree["d/f"], tree[name])
	}
	require.Contains(t, tree["d/f"], "104755 33:0")
	require.Contains(t, tree["d/f"], "user.x=y")
	require.Contains(t, tree["t"], "x = s")
	require.Contains(t, tree["d"], "40755 0:0")

	// Where another of its names was there is a link now, which leads in circles.
	tree = inAllWays(t, low, layerOf(t, symlink("d", "d/f"), hard("new", "h")))
	require.Equal(t, ". d e h new s", names(tree))

	tree = inAllWays(t, low, layerOf(t, hard("new", "h"), file(".wh.h", ""), file("d/.wh.f", "")))
	require.Equal(t, ". d d/g e new s", names(tree))
	require.Equal(t, tree["d/g"], tree["new"])
}

// Directories have the mode, owner and time of the last layer that says them,
// the root as well, and not of what is made in them.
func TestApplyDirectories(t *testing.T) {
	low := layerOf(t, dir("./"), dir("d/"), dir("d/e/"), file("d/e/f", ""))
	tree := inAllWays(t, low, layerOf(t, file("d/e/g", ""), file("d/e/.wh.f", ""), file("x", "")))
	for _, name := range []string{".", "d", "d/e"} {
		require.Contains(t, tree[name], "40751 3:4 2020-02-03T04:05:06.000000789Z")
	}
	tree = inAllWays(t, low, layerOf(t, file("d/x", ""), dir("d/").with(func(h *tar.Header) { h.Mode, h.Uid = 0o1700, 9 }),
		dir("./").with(func(h *tar.Header) { h.Mode = 0o555 }), file("d/e/g", "")))
	require.Contains(t, tree["d"], "41700 9:4 2020-02-03T04:05:06.000000789Z")
	require.Contains(t, tree["."], "40555 3:4 2020-02-03T04:05:06.000000789Z")
	// Access lists for what is made in a directory are for a container's files.
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x08\x00\x07\x00\x05\x00\x00\x00\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"
	tree = inAllWays(t, low, layerOf(t, dir("d/").with(func(h *tar.Header) {
		h.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_default": acl}
	}), file("d/new", ""), dir("d/newer/")), layerOf(t, dir("d/")))
	require.Contains(t, tree["d/new"], "[]")
	require.Contains(t, tree["d/newer"], "[]")
	require.Contains(t, tree["d"], "[]", "an entry says all")
}

// What no layer may do is refused, by a sentence, and nothing outside of the root
// is touched.
func TestApplyHostile(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(outside+"/file", []byte("mine"), 0o600))
	for name, c := range map[string]struct {
		top  []entry
		want string // of the error; "": it stays below the root
	}{
		"absolute":          {[]entry{file(outside+"/file", "theirs")}, ""},
		"dots":              {[]entry{file("../../../../../../"+outside+"/file", "theirs")}, ""},
		"link out":          {[]entry{symlink("l", outside), file("l/file", "theirs"), file("l/.wh.file", "")}, ""},
		"link up":           {[]entry{symlink("l", "../../../../../../.."+outside), file("l/file", "theirs")}, ""},
		"link chain":        {[]entry{symlink("m", "/"), symlink("l", "m/../.."+outside), file("l/file", "theirs"), file("l/.wh..wh..opq", "")}, ""},
		"file through link": {[]entry{symlink("l", outside+"/file"), file("l", "theirs")}, ""},
		"hard link out":     {[]entry{hard("l", "../../../../../.."+outside+"/file")}, "it is not there"},
		"hard link by link": {[]entry{symlink("s", outside), hard("l", "s/file")}, "it is not there"},
		"to nothing":        {[]entry{hard("l", "nothing")}, `hard link to "nothing": it is not there`},
		"to a directory":    {[]entry{dir("d/"), hard("l", "d")}, "it is a directory"},
		"to the root":       {[]entry{hard("l", "/")}, "it is the root"},
		"from the root":     {[]entry{file("f", ""), hard("/", "f")}, "it is the root"},
		"root":              {[]entry{symlink("./", outside)}, "the root is a directory"},
		"circle":            {[]entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, "too many levels"},
		"marker of dots":    {[]entry{file(".wh...", "")}, "it removes no file"},
		"marker of nothing": {[]entry{file(".wh.", "")}, "it removes no file"},
		"whiteout device":   {[]entry{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "f"}}}, "mark of a file that was removed"},
		"user":              {[]entry{file("f", "").with(func(h *tar.Header) { h.Uid = 1 << 32 })}, "its owner or group is no number"},
		"group":             {[]entry{file("f", "").with(func(h *tar.Header) { h.Gid = 1<<32 + 1000 })}, "its owner or group is no number"},
		"long name":         {[]entry{file(strings.Repeat("x", 256), "")}, "file name too long"},
		"marks of overlay's": {[]entry{dir("d/").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.redirect": outside}
		})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			low := layerOf(t, file("d/old", ""))
			for _, how := range ways {
				m, err := applied(t, how, low, layerOf(t, c.top...))
				if c.want == "" {
					require.NoError(t, err)
					_, err := open(t, m).Stat("d/old")
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.want)
					require.True(t, errors.Is(err, errdefs.ErrInvalidArgument) || errors.Is(err, fs.ErrInvalid), "%v", err)
				}
				b, err := os.ReadFile(outside + "/file")
				require.NoError(t, err)
				require.Equal(t, "mine", string(b))
			}
		})
	}
}

// A file that claims to be huge is one of holes, or there is an end to it.
func TestApplySizes(t *testing.T) {
	sparse := func(size int64) []byte {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(dir+"/f", []byte("x"), 0o600))
		require.NoError(t, os.Truncate(dir+"/f", size))
		out, err := exec.Command("tar", "--sparse", "-C", dir, "-c", "f").Output()
		require.NoError(t, err)
		return out
	}
	m, err := applied(t, copying, sparse(64<<20))
	require.NoError(t, err)
	info, err := os.Stat(m[0].Source + "/f")
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, info.Size())
	require.Less(t, info.Sys().(*syscall.Stat_t).Blocks, int64(1000))

	_, err = applied(t, copying, sparse(2<<40))
	require.ErrorContains(t, err, "more than 1099511627776 bytes in its files")
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)

	cut := layerOf(t, file("f", strings.Repeat("x", 5000)))
	_, err = applied(t, overlaying, layerOf(t), cut[:2048])
	require.ErrorContains(t, err, "unexpected EOF")
}

// In a user namespace, where there are no devices, a layer is unpacked without
// those it has.
func TestApplyMapped(t *testing.T) {
	const at = "CTOR_TEST_APPLY"
	top := layerOf(t, entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}}, file("f", "x"))
	if dir := os.Getenv(at); dir != "" {
		require.NoError(t, rootfs.Apply(t.Context(), []mount.Mount{{Type: "bind", Source: dir}}, bytes.NewReader(top)))
		return
	}
	require.Contains(t, inAllWays(t, top)["null"], "20666 0:0")
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestApplyMapped$")
	cmd.Env = append(os.Environ(), at+"="+dir)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1000}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, ". f", names(listed(t, dir, time.Now())))
}
