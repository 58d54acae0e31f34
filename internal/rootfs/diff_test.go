package rootfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// images are layers, the base first, that the tests of Diff change. /var/run
// leads to /run, as in most images.
func images(t testing.TB) (lower []string) {
	base, over := tree(t), t.TempDir()
	for _, err := range []error{
		os.MkdirAll(base+"/var", 0o755),
		os.MkdirAll(base+"/etc", 0o755),
		os.Symlink("/run", base+"/var/run"),
		os.Chtimes(base+"/a/file", now, now),
		os.Link(base+"/a/other", base+"/a/second"),
		os.MkdirAll(over+"/full/of", 0o755),
		os.WriteFile(over+"/full/of/more", []byte("more"), 0o644),
		os.WriteFile(over+"/upper", []byte("upper"), 0o644),
	} {
		require.NoError(t, err)
	}
	return []string{over, base}
}

// change is something that a container does, and what is to be told of it.
type change struct {
	do   string // in a shell, in the root
	want string
}

var changes = map[string]change{
	"nothing":        {":", ""},
	"open":           {": >>a/file", ""},
	"append":         {"echo x >>a/file", "C a, C a/file"},
	"rewrite":        {"printf CONTENT >a/file; touch -d @1700000000.000012345 a/file", "C a, C a/file"},
	"same again":     {"printf content >a/file; touch -d @1700000000.000012345 a/file", ""},
	"touch":          {"touch a/file", "C a, C a/file"},
	"come and go":    {"echo x >a/x; mkdir a/y; rm -r a/x a/y", ""},
	"add":            {"echo x >a/b/x; mkdir -p new/dir; ln -s x new/link; mkfifo new/fifo", "C a, C a/b, A a/b/x, A new, A new/dir, A new/fifo, A new/link"},
	"add to both":    {"echo x >full/of/x; echo y >>full/of/more", "C full, C full/of, C full/of/more, A full/of/x"},
	"chmod":          {"chmod 600 a/file; chmod 700 a/b", "C a, C a/b, C a/file"},
	"chmod back":     {"chmod 600 a/file; chmod 644 a/file", ""},
	"chown":          {"chown 5 a/file; chown -h 6 link; chown :7 empty", "C a, C a/file, C empty, C link"},
	"remove":         {"rm a/file upper", "C a, D a/file, D upper"},
	"remove dir":     {"rm -r full a/b", "C a, D a/b, D full"},
	"remove twice":   {"rm -r full/of/things; rm full/of/more", "C full, C full/of, D full/of/more, D full/of/things"},
	"put back":       {"rm a/other; echo else >a/other", "C a, C a/other"},
	"put dir back":   {"rm -r full; mkdir -p full/of; echo 2 >full/of/more; echo n >full/n", "C full, A full/n, C full/of, C full/of/more, D full/of/things"},
	"empty dir back": {"rm -r full; mkdir full", "C full, D full/of"},
	"file for dir":   {"rm -r full; echo x >full", "C full"},
	"dir for file":   {"rm a/file; mkdir a/file; echo x >a/file/x", "C a, C a/file, A a/file/x"},
	"dir for link":   {"rm linkdir; mkdir linkdir; echo x >linkdir/file", "C linkdir, A linkdir/file"},
	"link for file":  {"ln -sf other a/file", "C a, C a/file"},
	"other link":     {"ln -sfn b linkdir", "C linkdir"},
	"hard link":      {"ln a/file hard", "C a, C a/file, A hard"},
	"more links":     {"ln a/file hard; ln hard a/z", "C a, C a/file, A a/z, A hard"},
	"link elsewhere": {"rm a/second; ln a/other hard", "C a, C a/other, D a/second, A hard"},
	"link removed":   {"rm a/second", "C a, D a/second"},
	"root":           {"chmod 711 .; chown 5:6 .", "C ."},
	"root and file":  {"chmod 500 .; echo x >a/x", "C ., C a, A a/x"},
	"move file":      {"mv a/file a/b/file", "C a, C a/b, A a/b/file, D a/file"},
	"move dir":       {"mv full moved; echo x >moved/of/x", "D full, A moved, A moved/of, A moved/of/more, A moved/of/things, A moved/of/x"},
	"move over":      {"rmdir empty; mv full empty", "C empty, A empty/of, A empty/of/more, A empty/of/things, D full"},
	"move below":     {"mv full/of a/b/of", "C a, C a/b, A a/b/of, A a/b/of/more, A a/b/of/things, C full, D full/of"},
	"odd names":      {`echo x >"$(printf 'a/\377')"; echo y >'a/ '`, "C a, A a/ , A a/\xff"},
	// What a runtime makes, and what a container does to that.
	"made":           {"mkdir -p proc data/in run/x etc work/dir; : >etc/hosts; mkdir run/x/y", ""},
	"made and used":  {"mkdir -p proc data/in run/x etc; : >etc/hosts; echo x >data/x; echo x >proc/x; echo y >etc/hosts", "A data, A data/x, C etc, A etc/hosts, A proc, A proc/x"},
	"made elsewhere": {"mkdir -p var/other var/lib/proc", "C var, A var/lib, A var/lib/proc, A var/other"},
}

var made = []string{"/proc", "/etc/hosts", "/data/in", "/var/run/x/y", "/work/dir"}

// Whatever the file system is by which a container's files are kept, the same
// is told, and what Pack writes makes of the image what the container has.
func TestDiff(t *testing.T) {
	t.Parallel()
	overlays := func(options ...string) func(t *testing.T, do string) *rootfs.Diff {
		return func(t *testing.T, do string) *rootfs.Diff {
			m := overlay(t, images(t))
			m[0].Options = append(m[0].Options, options...)
			d := &rootfs.Diff{Since: time.Now().Add(-time.Second), Made: made}
			w, err := rootfs.OpenWritable(m, t.TempDir())
			require.NoError(t, err)
			shell(t, w.Path(), do)
			require.NoError(t, w.Close())
			d.Before = open(t, m)
			d.After, err = rootfs.OpenWhole(m, t.TempDir())
			require.NoError(t, err)
			d.Upper, d.User, err = rootfs.OpenUpper(m)
			require.NoError(t, err)
			require.NotNil(t, d.Upper)
			return d
		}
	}
	for name, start := range map[string]func(t *testing.T, do string) *rootfs.Diff{
		"overlay":  overlays(),
		"redirect": overlays("redirect_dir=on", "metacopy=on"),
		"copy": func(t *testing.T, do string) *rootfs.Diff {
			lower := images(t)
			before, after := t.TempDir(), t.TempDir()
			for _, dir := range []string{before, after} {
				for _, layer := range []string{lower[1], lower[0]} {
					shell(t, layer, "cp -a . "+dir)
				}
			}
			since := time.Now()
			shell(t, after, do)
			return &rootfs.Diff{Before: at(t, before), After: at(t, after), Since: since.Add(-time.Second), Made: made}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, c := range changes {
				t.Run(name, func(t *testing.T) {
					d := start(t, c.do)
					t.Cleanup(func() { d.Close() })
					if strings.HasSuffix(t.Name(), "redirect/move_dir") {
						_, err := unix.Getxattr(d.Upper.Path()+"/moved", "trusted.overlay.redirect", make([]byte, 100))
						require.NoError(t, err, "it is what this is to show")
					}
					var got []string
					require.NoError(t, d.Walk(t.Context(), func(name string, kind rootfs.Kind) error {
						got = append(got, string("?ACD"[kind])+" "+name)
						return nil
					}))
					require.Equal(t, c.want, strings.Join(got, ", "))
					if strings.HasPrefix(name, "made") {
						return // the image gets what the runtime makes again
					}
					var layer bytes.Buffer
					require.NoError(t, d.Pack(t.Context(), &layer))
					dst := t.TempDir()
					shell(t, d.Before.Path(), "cp -a . "+dst)
					require.NoError(t, rootfs.Apply(t.Context(), []mount.Mount{{Type: "bind", Source: dst}}, &layer))
					require.Equal(t, whole(t, d.After.Path()), whole(t, dst))
				})
			}
		})
	}
}

// shell runs a script in a directory.
func shell(t testing.TB, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// whole describes a tree, but for what a layer does not say: times of
// directories that are told of by what is in them.
func whole(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	names := map[uint64][]string{} // of a file that has several
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		i, err := d.Info()
		require.NoError(t, err)
		st := i.Sys().(*syscall.Stat_t)
		target := ""
		if i.Mode().Type() == fs.ModeSymlink {
			target, _ = os.Readlink(filepath.Join(dir, name))
		}
		fmt.Fprintln(&b, name, i.Mode(), st.Uid, st.Gid, target)
		if st.Nlink > 1 && !i.IsDir() {
			names[st.Ino] = append(names[st.Ino], name)
		}
		if !i.Mode().IsDir() {
			fmt.Fprintln(&b, i.ModTime().UnixNano())
		}
		if i.Mode().IsRegular() {
			data, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			fmt.Fprintf(&b, "%q\n", data)
		}
		return nil
	}))
	groups := []string{}
	for _, n := range names {
		if len(n) == 1 {
			continue // the others are in a layer above or below
		}
		groups = append(groups, strings.Join(n, " = "))
	}
	slices.Sort(groups)
	return b.String() + strings.Join(groups, "\n")
}
