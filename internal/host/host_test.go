package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"
)

// recorded gives what another host said.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	a, err := txtar.ParseFile("testdata/mountinfo.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	t.Fatalf("no record %q", name)
	return nil
}

func TestCgroupMounts(t *testing.T) {
	for name, want := range map[string][]string{
		"v2":     {"/sys/fs/cgroup"},
		"v1":     {"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"},
		"hybrid": {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"},
		"docker": {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"},
		"none":   nil,
		"odd":    {"/mnt/with blank", "/mnt/again"},
		// What another mount is on top of is not where its path leads.
		"covered": {"/sys/fs/cgroup/pids"}, "covered above": nil, "chroot": {"/sys/fs/cgroup/cpu"},
	} {
		require.Equal(t, want, cgroupMounts(parseMounts(recorded(t, name))), name)
	}
}

func TestLeftMounts(t *testing.T) {
	left := parseMounts(recorded(t, "left"))
	require.Equal(t, []string{"/tmp/containerd-mount2", "/tmp/containerd-mount1"}, leftMounts(left, "/var/lib/ctor"))
	require.Equal(t, []string{"/tmp/containerd-mount4", "/tmp/containerd-mount3"}, leftMounts(left, "/var/lib/ctor-of-another"))
	require.Equal(t, []string{"/tmp/containerd-mount5"}, leftMounts(left, "/lib/ctor"))
	require.Empty(t, leftMounts(left, "/srv/nothing"))
	require.Empty(t, leftMounts(nil, "/srv/nothing"))
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `/a`: `/a`, `/a\040b`: `/a b`, `\134\011`: "\\\t", `/a\04`: `/a\04`, `/\999x`: `/\999x`, `\\040`: `\ `,
	} {
		require.Equal(t, want, unescape(in), in)
	}
}

func TestOverlayListed(t *testing.T) {
	require.True(t, overlayListed(recorded(t, "filesystems with overlay")))
	require.False(t, overlayListed(recorded(t, "filesystems without")))
	require.False(t, overlayListed(nil))
}

func TestSnapshotter(t *testing.T) {
	require.Equal(t, "overlayfs", Snapshotter(t.TempDir()))
	require.Equal(t, "native", Snapshotter("/proc"), "it carries no layers")

	root := t.TempDir()
	require.True(t, mountsOverlay(root))
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestMayMount(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n": true,
		"Name:\tx\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n": false, // docker run
		"Name:\tx\nCapEff:\t0000000000000000\n":                            false,
		"Name:\tx\n":                                                       true,
		"CapEff:\tnot a mask\n":                                            true,
		"":                                                                 true,
	} {
		require.Equal(t, want, mayMount([]byte(status)), status)
	}
}

func TestCheckCaps(t *testing.T) {
	const all = "CapBnd:\t000001ffffffffff\n"
	names := []string{"CAP_CHOWN", "CAP_MKNOD", "CAP_AUDIT_WRITE"}
	require.NoError(t, checkCaps(caps([]byte(all), "CapBnd"), names))
	require.NoError(t, checkCaps(caps(nil, "CapBnd"), names), "what can't be read")
	require.NoError(t, checkCaps(caps([]byte("CapBnd:\t0\n"), "CapBnd"), nil), "none is wanted")
	err := checkCaps(caps([]byte("CapBnd:\t000001ffd7ffffff\n"), "CapBnd"), names)
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.EqualError(t, err, "this root can't give a container CAP_MKNOD, CAP_AUDIT_WRITE, which it may not have itself (unavailable): "+
		"if this is a container, start it with --privileged, if a service, take CapabilityBoundingSet out of its unit")
}

func TestCheckRoot(t *testing.T) { require.NoError(t, CheckRoot()) }

func TestRuntime(t *testing.T) {
	at := func(cgroup string) func() Facts { return func() Facts { return Facts{Cgroup: cgroup} } }
	path := t.TempDir()
	t.Setenv("PATH", path)
	_, err := runtime(at(V2))
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.EqualError(t, err, "no runc or crun on PATH to run containers with (unavailable): apt-get install runc")

	require.NoError(t, os.WriteFile(filepath.Join(path, "crun"), nil, 0o755))
	name, err := runtime(at(V2))
	require.NoError(t, err)
	require.Equal(t, "crun", name)
	_, err = runtime(at(Hybrid))
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, "apt-get install runc")

	require.NoError(t, os.WriteFile(filepath.Join(path, "runc"), nil, 0o755))
	name, err = runtime(at(Hybrid))
	require.NoError(t, err)
	require.Equal(t, "runc", name)
}

func TestCgroupParent(t *testing.T) {
	a := CgroupParent("/var/lib/ctor", "ctor")
	require.Regexp(t, `^/ctor-[0-9a-f]{12}$`, a)
	require.Equal(t, a, CgroupParent("/var/lib/ctor", "ctor"))
	require.NotEqual(t, a, CgroupParent("/var/lib/ctor2", "ctor"))
	require.NotEqual(t, a, CgroupParent("/var/lib/ctor", "ctor2"))
}

// cgroup makes a tree of cgroups in every hierarchy of this host that takes
// one, with a process in each given child.
func cgroup(t *testing.T, children ...string) (path string, processes map[string]*exec.Cmd) {
	t.Helper()
	path = CgroupParent(t.TempDir(), t.Name())
	found, err := hierarchies()
	require.NoError(t, err)
	require.NotEmpty(t, found)
	processes = map[string]*exec.Cmd{}
	for _, c := range children {
		// One that forks would find at times that it may not any more, and end by
		// itself.
		p := exec.Command("sleep", "1000")
		require.NoError(t, p.Start())
		processes[c] = p
		t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
		for _, h := range found {
			dir := filepath.Join(h, path, c)
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} { // v1: empty at first
				for d, from := range map[string]string{filepath.Dir(dir): h, dir: filepath.Dir(dir)} {
					if b, err := os.ReadFile(filepath.Join(from, name)); err == nil && len(strings.TrimSpace(string(b))) > 0 {
						_ = os.WriteFile(filepath.Join(d, name), b, 0)
						_ = os.WriteFile(filepath.Join(dir, name), b, 0)
					}
				}
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0))
		}
	}
	t.Cleanup(func() { require.NoError(t, RemoveCgroup(path)) })
	return path, processes
}

func exists(path string) (n int) {
	found, _ := hierarchies()
	for _, h := range found {
		if unix.Access(filepath.Join(h, path), unix.F_OK) == nil {
			n++
		}
	}
	return n
}

func TestRemoveCgroup(t *testing.T) {
	path, processes := cgroup(t, "a", "b", "kept", "a/inner")
	require.NoError(t, RemoveCgroup(path, "kept"))
	require.Zero(t, exists(path+"/a")+exists(path+"/b"))
	require.NotZero(t, exists(path+"/kept"))
	for _, c := range []string{"a", "b", "a/inner"} {
		require.ErrorContains(t, processes[c].Wait(), "killed", c)
	}
	require.NoError(t, unix.Kill(processes["kept"].Process.Pid, 0), "who is kept lives")
	require.NoError(t, RemoveCgroup(path))
	require.Zero(t, exists(path))
	require.NoError(t, RemoveCgroup(path), "gone is gone")
}

// The frozen don't even die, on v1.
func TestRemoveFrozen(t *testing.T) {
	path, processes := cgroup(t, "c")
	found, err := hierarchies()
	require.NoError(t, err)
	for _, h := range found {
		for name, frozen := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
			if f := filepath.Join(h, path, "c", name); unix.Access(f, unix.F_OK) == nil {
				require.NoError(t, os.WriteFile(f, []byte(frozen), 0))
			}
		}
	}
	require.NoError(t, RemoveCgroup(path))
	require.ErrorContains(t, processes["c"].Wait(), "killed")
}

func TestSweepMounts(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"l", "u", "w"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, d), 0o700))
	}
	var points []string
	for range 2 {
		at, err := os.MkdirTemp("", "containerd-mount")
		require.NoError(t, err)
		points = append(points, at)
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH); _ = os.Remove(at) })
	}
	options := "lowerdir=" + root + "/l,upperdir=" + root + "/u,workdir=" + root + "/w"
	require.NoError(t, unix.Mount("overlay", points[0], "overlay", 0, options))
	require.NoError(t, unix.Mount(root+"/l", points[1], "", unix.MS_BIND, ""))
	require.NoError(t, SweepMounts(t.TempDir()), "another's")
	for _, p := range points {
		require.DirExists(t, p)
	}
	require.NoError(t, SweepMounts(root))
	for _, p := range points {
		require.NoDirExists(t, p)
	}
	require.NoError(t, SweepMounts(root))
}
