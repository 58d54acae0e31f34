package rootfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// layers makes directories for an overlay, the top one first. Each has a file
// with its own number.
func layers(t *testing.T, n int) (dirs []string) {
	base := filepath.Join(t.TempDir(), strings.Repeat("long", 10))
	for i := range n {
		d := filepath.Join(base, fmt.Sprint(i), "fs")
		require.NoError(t, os.MkdirAll(d, 0o755))
		for _, name := range []string{fmt.Sprint("only", i), "all"} {
			require.NoError(t, os.WriteFile(filepath.Join(d, name), []byte(fmt.Sprint(i)), 0o644))
		}
		dirs = append(dirs, d)
	}
	return dirs
}

func overlay(t testing.TB, lower []string) []mount.Mount {
	dir := t.TempDir()
	for _, d := range []string{"work", "upper"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{
		"index=off", "workdir=" + dir + "/work", "upperdir=" + dir + "/upper", "lowerdir=" + strings.Join(lower, ":"),
	}}}
}

func open(t testing.TB, m []mount.Mount) *rootfs.Root {
	r, err := rootfs.Open(m, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t *testing.T, r *rootfs.Root, name string) string {
	f, err := r.Open(name)
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(b)
}

// One layer, two, and so many that their paths fill more than the page that
// mount(2) takes.
func TestOverlay(t *testing.T) {
	ways := map[string]func([]mount.Mount, string, bool) (*rootfs.Root, error){
		"detached": rootfs.OpenDetached, // this needs Linux 6.8
		"apart":    rootfs.OpenApart,
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 100} {
				r, err := way(overlay(t, layers(t, n)), t.TempDir(), false)
				require.NoError(t, err)
				t.Cleanup(func() { r.Close() })
				require.Equal(t, "0", read(t, r, "all"))
				require.Equal(t, fmt.Sprint(n-1), read(t, r, fmt.Sprint("only", n-1)))
			}
		})
	}
}

// What is written is in the upper layer, and what is below stays what it is.
func TestOverlayWritable(t *testing.T) {
	ways := map[string]func([]mount.Mount, string, bool) (*rootfs.Root, error){
		"detached": rootfs.OpenDetached,
		"apart":    rootfs.OpenApart,
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 100} {
				lower := layers(t, n)
				m := overlay(t, lower)
				for i := range 2 { // what the first has written the second sees
					r, err := way(m, t.TempDir(), true)
					require.NoError(t, err)
					if i > 0 {
						require.Equal(t, "written", read(t, r, "all"))
						require.Equal(t, "written", read(t, r, "new"))
					}
					require.NoError(t, r.WriteFile("all", []byte("written"), 0))
					require.NoError(t, r.WriteFile("new", []byte("written"), 0o644))
					require.NoError(t, r.RemoveAll(t.Context(), fmt.Sprint("only", n-1)))
					_, err = r.Stat(fmt.Sprint("only", n-1))
					require.ErrorIs(t, err, fs.ErrNotExist)
					require.NoError(t, r.Close())
				}
				b, err := os.ReadFile(filepath.Join(lower[0], "all"))
				require.NoError(t, err)
				require.Equal(t, "0", string(b))
				require.Equal(t, fmt.Sprint(n-1), read(t, open(t, m), fmt.Sprint("only", n-1)))
			}
		})
	}
}

// What a directory tells of its files is of those in it, not of the program's
// own working directory, whatever their names are.
func TestEntries(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/rootfs.go", 0o700)) // a file in this package
	require.NoError(t, os.Symlink("rootfs.go", dir+"/link"))
	require.NoError(t, os.WriteFile(dir+"/\xff", nil, 0o644))
	r := open(t, []mount.Mount{{Type: "bind", Source: dir}})
	list, err := r.ReadDir(".")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "L link", fs.FormatDirEntry(list[0])[:6])
	for _, d := range list {
		want, err := os.Lstat(filepath.Join(dir, d.Name()))
		require.NoError(t, err)
		got, err := d.Info()
		require.NoError(t, err)
		require.True(t, os.SameFile(want, got))
		require.Equal(t, want.Mode(), got.Mode())
	}
}

// The root of a process is its own, as long as it is there.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/here", []byte("inside"), 0o644))
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	require.NoError(t, err)
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	r, err := rootfs.OfProcess(cmd.Process.Pid, pidfd)
	require.NoError(t, err)
	defer r.Close()
	require.False(t, r.Ended())
	require.Equal(t, "inside", read(t, r, dir+"/here"))
	_, err = r.Stat("/proc/self/root/etc")
	require.ErrorIs(t, err, unix.ELOOP, "a magic link")

	// Its number may be another's from now on, whose root there is.
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.True(t, r.Ended())
	_, err = rootfs.OfProcess(os.Getpid(), pidfd)
	require.ErrorIs(t, err, unix.ESRCH)
	require.NoError(t, pidfd.Close())
	require.True(t, r.Ended())
}

// The host sees no mount, the process stays where it is, and no descriptor
// is left.
func TestNothingSeen(t *testing.T) {
	m, at := overlay(t, layers(t, 3)), t.TempDir()
	state := func() string {
		// Of the mounts, which other programs have as well, only these.
		var mounts []string
		all, err := os.ReadFile("/proc/self/mountinfo")
		require.NoError(t, err)
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, t.Name()) {
				mounts = append(mounts, line)
			}
		}
		ns, err := os.Readlink("/proc/self/ns/mnt")
		require.NoError(t, err)
		cwd, err := os.Readlink("/proc/self/cwd")
		require.NoError(t, err)
		return fmt.Sprint(ns, cwd, mounts)
	}
	files := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(d)
	}
	r, err := rootfs.Open(m, at) // the first one has Go's poller open its own
	require.NoError(t, err)
	require.NoError(t, r.Close())
	before, open := state(), files()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				r, err := rootfs.Open(m, at)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = r.Stat("all")
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, err = rootfs.Open(m, at)
	require.NoError(t, err)
	require.Equal(t, before, state())
	require.NoError(t, r.Close())
	require.Equal(t, before, state())
	require.Equal(t, open, files())
	_, err = rootfs.Open([]mount.Mount{{Type: "bind", Source: "/not/there", Options: []string{"bind"}}}, at)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, open, files())
	require.Equal(t, before, state())
}

// Whatever an image has as names and links, they lead to what is in it.
func TestNoEscape(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("inside"), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "proc"), 0o755))
	for name, to := range map[string]string{
		"absolute": "/etc/hostname", "up": "../../../../../../etc/hostname", "dir": "/", "updir": "/etc/../..",
		"proc/self": "/proc/1", "magic": "/proc/self/root/etc/passwd", "loop": "loop", "null": "/dev/null",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	require.NoError(t, unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))))
	r := open(t, []mount.Mount{{Type: "bind", Source: dir, Options: []string{"rbind", "rw"}}})
	for _, name := range []string{"etc/hostname", "/etc/hostname", "absolute", "up", "../../etc/hostname", "dir/etc/hostname", "updir/etc/hostname"} {
		require.Equal(t, "inside", read(t, r, name), name)
	}
	for _, name := range []string{"magic", "etc/passwd", "null", "/dev/null", "not/there"} {
		_, err := r.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
		_, err = r.Stat(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	for _, name := range []string{"fifo", "zero"} {
		_, err := r.Open(name)
		require.ErrorIs(t, err, rootfs.ErrNotRegular, name)
	}
	for _, name := range []string{"etc", "dir"} {
		_, err := r.OpenFile(name, os.O_RDONLY, 0)
		require.ErrorIs(t, err, unix.EISDIR, name)
	}
	_, err := r.Open("loop")
	require.ErrorIs(t, err, unix.ELOOP)
}
