package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"github.com/ctorhq/ctor/internal/mountinfo"
)

// recorded gives what another host said.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	a, err := txtar.ParseFile("../mountinfo/testdata/mountinfo.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	t.Fatalf("no record %q", name)
	return nil
}

func TestLeftMounts(t *testing.T) {
	left := mountinfo.Parse(recorded(t, "left"))
	require.Equal(t, []string{"/tmp/containerd-mount2", "/tmp/containerd-mount1"}, leftMounts(left, "/var/lib/ctor"))
	require.Equal(t, []string{"/tmp/containerd-mount4", "/tmp/containerd-mount3"}, leftMounts(left, "/var/lib/ctor-of-another"))
	require.Equal(t, []string{"/tmp/containerd-mount5"}, leftMounts(left, "/lib/ctor"))
	require.Empty(t, leftMounts(left, "/srv/nothing"))
	require.Empty(t, leftMounts(nil, "/srv/nothing"))
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
	require.EqualError(t, err, "no runc or crun on PATH to run containers with (unavailable): "+Provide("runc"))

	require.NoError(t, os.WriteFile(filepath.Join(path, "crun"), nil, 0o755))
	name, err := runtime(at(V2))
	require.NoError(t, err)
	require.Equal(t, "crun", name)
	_, err = runtime(at(Hybrid))
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, Provide("runc"))

	require.NoError(t, os.WriteFile(filepath.Join(path, "runc"), nil, 0o755))
	name, err = runtime(at(Hybrid))
	require.NoError(t, err)
	require.Equal(t, "runc", name)
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
