package container_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

// states are all that a container can be in.
var states = []container.State{container.Created, container.Running, container.Paused, container.Exited}

// inState makes a container that is in a state.
func inState(t testing.TB, img *image.Image, s container.State, cfg container.Config) *container.Container {
	t.Helper()
	ctx := t.Context()
	if len(cfg.Args) == 0 {
		cfg.Args = []string{"sleep", "1000"}
	}
	c, err := img.New(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	if s != container.Created {
		require.NoError(t, c.Start(ctx))
	}
	switch s {
	case container.Paused:
		require.NoError(t, c.Pause(ctx))
	case container.Exited:
		require.NoError(t, c.Signal(ctx, os.Kill))
		require.Error(t, c.Wait(ctx))
	}
	require.Equal(t, s, info(t, c).State)
	return c
}

// eachState runs a test with a container in each state, attached and detached.
func eachState(t *testing.T, img *image.Image, f func(*testing.T, container.State, *container.Container)) {
	for _, s := range states {
		for _, detach := range []bool{false, true} {
			t.Run(fmt.Sprint(s, map[bool]string{true: " detached"}[detach]), func(t *testing.T) {
				if testing.Short() && (detach || s == container.Exited) {
					t.Skip("takes seconds")
				}
				t.Parallel()
				f(t, s, inState(t, img, s, container.Config{Detach: detach}))
			})
		}
	}
}

// What io/fs demands of a file system. /proc and /dev of one that runs can't
// give it: they change, and hold devices.
func TestFS(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img, err := busybox(t).Derive(t.Context(), "ctor.test/fs", nil, layer.FromFS(fstest.MapFS{
		"srv/file":      {Data: []byte("content"), Mode: 0o640},
		"srv/empty":     {Mode: 0o4755 | fs.ModeSetuid},
		"srv/dir/x/y":   {Data: bytes.Repeat([]byte("long"), 10_000), Mode: 0o644},
		"srv/dir/z":     {Mode: fs.ModeDir | 0o700},
		"srv/absolute":  {Data: []byte("/srv/file"), Mode: fs.ModeSymlink},
		"srv/relative":  {Data: []byte("../../../../../srv/dir"), Mode: fs.ModeSymlink},
		"srv/to/passwd": {Data: []byte("/etc/passwd"), Mode: fs.ModeSymlink},
	}, nil))
	require.NoError(t, err)
	eachState(t, img, func(t *testing.T, s container.State, c *container.Container) {
		srv, err := fs.Sub(c.FS(), "srv")
		require.NoError(t, err)
		require.NoError(t, fstest.TestFS(srv, "file", "empty", "dir/x/y", "dir/z", "absolute", "relative", "to/passwd"))
		b, err := fs.ReadFile(srv, "to/passwd")
		require.NoError(t, err)
		require.Contains(t, string(b), "app:x:1000")
		target, err := c.FS().ReadLink("srv/absolute")
		require.NoError(t, err)
		require.Equal(t, "/srv/file", target)
		if s == container.Exited {
			require.NoError(t, fstest.TestFS(c.FS(), "srv/file", "bin/sh", "etc/passwd", "tmp", "proc"))
			return
		}
		// What is mounted is there as well.
		b, err = c.FS().ReadFile("etc/hostname")
		require.NoError(t, err)
		require.Contains(t, c.ID()+"\n", string(b))
		// The kernel's files are there, but would answer the program.
		_, err = c.FS().ReadFile("proc/1/status")
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "procfs")
		_, err = c.FS().Stat("proc/1/status")
		require.NoError(t, err)
		list, err := c.FS().ReadDir("proc/1")
		require.NoError(t, err)
		require.NotEmpty(t, list)
	})
}

// Links of a container into what the kernel shows lead a program neither to
// what it may see and the container may not, nor to a read without end.
func TestFSKernel(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"sh", "-c",
		`mkdir /out; cd /out; for f in kmsg kallsyms 1/oom_score_adj 1 sys/kernel/hostname; do ln -s /proc/$f ${f##*/}; done; ln -s /sys/kernel sys; echo linked; exec sleep 1000`}})
	says(t, c, "linked")
	f := c.FS()
	for name, call := range map[string]func(name string) error{
		"out/kmsg":          func(name string) error { _, err := f.ReadFile(name); return err },
		"out/kallsyms":      func(name string) error { _, err := f.Open(name); return err },
		"out/oom_score_adj": func(name string) error { return f.WriteFile(name, []byte("-1000"), 0o644) },
		"out/hostname":      func(name string) error { _, err := f.OpenFile(name, os.O_RDWR, 0); return err },
		"out/1/new":         func(name string) error { return f.WriteFile(name, nil, 0o644) },
		"out/sys/new":       func(name string) error { return f.Mkdir(name, 0o755) },
		"out/sys":           func(name string) error { return f.Chmod(name, 0o700) },
		"out/sys/notes":     func(name string) error { return f.Chtimes(name, time.Now(), time.Now()) },
		"proc/1/status":     func(name string) error { return f.Remove(name) },
		"out/sys/at":        func(name string) error { return f.Untar(t.Context(), name, tarball(t)) },
		"dev/mqueue/new":    func(name string) error { return f.WriteFile(name, nil, 0o644) },
		"proc/1/limits": func(name string) error {
			r, err := f.CopyOut(t.Context(), name)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			return err
		},
	} {
		err := call(name)
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
		require.ErrorContains(t, err, "in the kernel's", name)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", info(t, c).Pid))
	require.NoError(t, err)
	require.NotEqual(t, "-1000\n", string(b))
}

// tarball has one file.
func tarball(t *testing.T) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644}))
	require.NoError(t, w.Close())
	return &b
}

// What is written is there for the container, and stays when it ends.
func TestFSWrite(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	eachState(t, busybox(t), func(t *testing.T, s container.State, c *container.Container) {
		f := c.FS()
		at := time.Unix(1700000000, 5)
		for _, err := range []error{
			f.WriteFile("etc/passwd", []byte("replaced"), 0), // in the image
			f.WriteFile("tmp/file", []byte("new"), 0o640),
			f.Mkdir("srv", 0o750),
			f.MkdirAll("srv/a/b/c", 0o711),
			f.Symlink("/srv/a", "srv/link"),
			f.WriteFile("srv/link/b/through", []byte("through"), 0o600),
			f.Link("srv/a/b/through", "srv/hard"),
			f.Rename("srv/hard", "srv/renamed"),
			f.Chmod("srv/link/b/c", 0o777|fs.ModeSticky),
			f.Chown("srv/link", 1000, 1001),
			f.Lchown("srv/link", 7, 8),
			f.Chtimes("srv/renamed", time.Time{}, at),
			f.Remove("bin/yes"),
			f.RemoveAll("home"),
			f.RemoveAll("not/there"),
		} {
			require.NoError(t, err)
		}
		w, err := f.OpenFile("tmp/file", os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = w.WriteString("er")
		require.NoError(t, err)
		require.NoError(t, w.Close())
		if s == container.Running {
			out, err := c.Command(t.Context(), "sh", "-c",
				`cat /etc/passwd /tmp/file /srv/a/b/through; ls -ln /srv | grep -v ^total | cut -c1-21; ls -d /home /bin/yes 2>&1 | wc -l`).Output()
			require.NoError(t, err)
			require.Equal(t, "replacednewerthrough"+
				"drwx--x--x    3 1000 \nlrwxrwxrwx    1 7    \n-rw-------    2 0    \n2\n", string(out))
		}
		written := func() {
			for name, want := range map[string]string{"etc/passwd": "replaced", "tmp/file": "newer", "srv/renamed": "through"} {
				b, err := f.ReadFile(name)
				require.NoError(t, err)
				require.Equal(t, want, string(b))
			}
			i, err := f.Stat("srv/renamed")
			require.NoError(t, err)
			require.True(t, i.ModTime().Equal(at))
			_, err = f.Stat("home")
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		written()
		_ = c.Signal(t.Context(), os.Kill)
		require.NoError(t, c.Stop(t.Context()))
		_ = c.Wait(t.Context())
		written()
	})
}

// hostile is an image with files that mean ill.
func hostile(t testing.TB) *image.Image {
	t.Helper()
	link := func(name, target string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeChar, Name: "bad/null", Devmajor: 1, Devminor: 3, Mode: 0o666},
		{Typeflag: tar.TypeChar, Name: "bad/watchdog", Devmajor: 10, Devminor: 130, Mode: 0o666},
		{Typeflag: tar.TypeBlock, Name: "bad/disk", Devmajor: 254, Devminor: 0, Mode: 0o666},
		{Typeflag: tar.TypeFifo, Name: "bad/fifo", Mode: 0o666},
		link("bad/host", "/../../../../etc/machine-id"),
		link("bad/up", "../../../../../../../../etc/machine-id"),
		link("bad/loop", "loop"),
		link("bad/proc", "/proc/1/root/bin"),
		link("bad/self", "/proc/self/root"),
		link("bad/fd", "/dev/fd/0"),
		{Typeflag: tar.TypeDir, Name: "bad/\xff", Mode: 0o755},
	} {
		require.NoError(t, w.WriteHeader(h))
	}
	require.NoError(t, w.Close())
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	img, err := busybox(t).Derive(t.Context(), "ctor.test/hostile", nil, l)
	require.NoError(t, err)
	return img
}

// Each gives an error of a clear class, and none waits.
func TestFSBad(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	eachState(t, hostile(t), func(t *testing.T, s container.State, c *container.Container) {
		f := c.FS()
		calls := func(name string) map[string]error {
			_, openErr := f.Open(name)
			_, readErr := f.ReadFile(name)
			_, fileErr := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			return map[string]error{"open": openErr, "read": readErr, "open file": fileErr, "write": f.WriteFile(name, []byte("x"), 0o644)}
		}
		for _, name := range []string{"", "/etc/passwd", "etc/../etc/passwd", "..", "../etc/passwd", "etc/", "./etc", "etc//passwd", "bad/\xff"} {
			all := calls(name)
			_, all["stat"] = f.Stat(name)
			_, all["lstat"] = f.Lstat(name)
			_, all["readlink"] = f.ReadLink(name)
			_, all["readdir"] = f.ReadDir(name)
			_, all["copy out"] = f.CopyOut(t.Context(), name)
			all["copy in"] = f.CopyIn(t.Context(), name, fstest.MapFS{})
			all["untar"] = f.Untar(t.Context(), name, nil)
			all["mkdir"], all["mkdirall"] = f.Mkdir(name, 0o755), f.MkdirAll(name, 0o755)
			all["remove"], all["removeall"] = f.Remove(name), f.RemoveAll(name)
			all["symlink"], all["link"], all["rename"] = f.Symlink("x", name), f.Link(name, "x"), f.Rename("tmp", name)
			all["chmod"], all["chown"], all["lchown"] = f.Chmod(name, 0), f.Chown(name, 0, 0), f.Lchown(name, 0, 0)
			all["chtimes"] = f.Chtimes(name, time.Time{}, time.Now())
			for op, err := range all {
				require.ErrorIs(t, err, fs.ErrInvalid, "%s %q", op, name)
				require.ErrorIs(t, err, ctor.ErrInvalid, "%s %q", op, name)
				require.ErrorContains(t, err, "not a name of io/fs")
				require.IsType(t, &fs.PathError{}, err)
			}
		}
		for name, kind := range map[string]string{
			"bad/null": "device", "bad/watchdog": "device", "bad/disk": "device", "bad/fifo": "named pipe",
		} {
			for op, err := range calls(name) {
				require.ErrorIs(t, err, fs.ErrInvalid, "%s %q", op, name)
				require.ErrorContains(t, err, fmt.Sprintf("open %s: it is a %s, not a regular file", name, kind))
			}
			_, err := f.Stat(name)
			require.NoError(t, err)
		}
		for name, class := range map[string]error{
			"bad/host": fs.ErrNotExist, "bad/up": fs.ErrNotExist, "bad/missing": ctor.ErrNotFound,
			"bad/loop": unix.ELOOP, "bad/self": nil, "bad/proc": nil, "bad/fd": nil, "etc/passwd/x": unix.ENOTDIR,
		} {
			_, err := f.ReadFile(name)
			require.Error(t, err, name)
			if class != nil {
				require.ErrorIs(t, err, class, name)
			}
		}
		if s != container.Exited {
			for _, name := range []string{"proc/1/root/bin/sh", "proc/1/cwd/bin/sh", "proc/1/exe", "proc/1/fd/0", "bad/proc/sh"} {
				_, err := f.ReadFile(name)
				require.ErrorIs(t, err, unix.ELOOP, "a link of /proc that leads anywhere")
			}
			_, err := f.Stat("dev/null")
			require.NoError(t, err)
		}
		// The name that can't be said is not in the way of the others.
		var names []string
		require.NoError(t, fs.WalkDir(f, "bad", func(name string, _ fs.DirEntry, err error) error {
			names = append(names, name)
			return err
		}))
		require.Len(t, names, 11)
	})
}

// After Close, of the container or of the engine, there is a clear error, and
// no descriptor left.
func TestFSClosed(t *testing.T) {
	fixture.NeedsCgroups(t)
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	open := func() (list []string) {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		for _, d := range all {
			if to, err := os.Readlink("/proc/self/fd/" + d.Name()); err == nil {
				list = append(list, to)
			}
		}
		return list
	}
	for _, s := range states {
		c := inState(t, img, s, container.Config{}) // everything is set up
		require.NoError(t, c.Close())
		c = inState(t, img, s, container.Config{})
		before := open()
		_, err := c.FS().Stat("etc")
		require.NoError(t, err)
		file, err := c.FS().Open("etc/passwd")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		for _, err := range []error{
			c.FS().WriteFile("x", nil, 0),
			c.FS().RemoveAll("x"),
			c.FS().CopyIn(t.Context(), "x", fstest.MapFS{}),
			func() error { _, err := c.FS().CopyOut(t.Context(), "etc"); return err }(),
		} {
			require.ErrorIs(t, err, fs.ErrClosed)
			require.ErrorIs(t, err, ctor.ErrNotFound)
			require.NotErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, c.ID())
		}
		b, err := io.ReadAll(file)
		require.NoError(t, err, "it is the caller's")
		require.Contains(t, string(b), "root")
		require.NoError(t, file.Close())
		require.EventuallyWithT(t, func(c *assert.CollectT) { // the collector looks at files of its own
			assert.Subset(c, before, open(), "what was open before, less what the container had")
		}, fixture.Patience, 20*time.Millisecond)
	}
	c := inState(t, img, container.Running, container.Config{})
	_, err := c.FS().Stat("etc")
	require.NoError(t, err)
	require.NoError(t, e.Close())
	_, err = c.FS().Stat("etc")
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.ErrorIs(t, err, fs.ErrClosed)
}

// Calls go on working through all that happens to a container, and end with
// it.
func TestFSLife(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c, err := img.New(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			name := fmt.Sprint("tmp/", n)
			for {
				err := errors.Join(
					c.FS().WriteFile(name, []byte(name), 0o644),
					func() error { _, err := c.FS().ReadFile(name); return err }(),
					c.FS().Remove(name),
				)
				if err != nil {
					if !errors.Is(err, fs.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for _, do := range []func() error{
		func() error { return c.Start(t.Context()) },
		func() error { return c.Pause(t.Context()) },
		func() error { return c.Resume(t.Context()) },
		func() error { return c.Signal(t.Context(), os.Kill) },
		func() error { _ = c.Wait(t.Context()); return nil },
		c.Close,
	} {
		require.NoError(t, do())
	}
	wg.Wait()
}

// A detached container's files are reached by a later program, and by two
// Containers at once.
func TestFSDetached(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	h := startHelper(t, "detached", root)
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	e := reopen(t, root)
	for _, name := range []string{"running", "ended"} {
		c, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		if name == "ended" {
			_ = c.Wait(t.Context())
		}
		other, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		require.NotSame(t, c, other)
		for i, f := range []*container.FS{c.FS(), other.FS()} {
			require.NoError(t, f.WriteFile(fmt.Sprint("etc/", i), []byte("x"), 0o644))
			require.NoError(t, f.WriteFile("etc/passwd", fmt.Append(nil, i), 0o644))
		}
		for _, f := range []*container.FS{c.FS(), other.FS()} {
			list, err := f.ReadDir("etc")
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(list), 4)
			b, err := f.ReadFile("etc/passwd")
			require.NoError(t, err)
			require.Equal(t, "1", string(b))
		}
		require.NoError(t, c.Close())
		_, err = other.FS().Stat("etc")
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
}
