package spec_test

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/spec"
)

// What a caller wants mounted, as the runtime is told it.
func TestMounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	manifest := ocispec.Descriptor{Digest: "sha256:1"}
	for _, test := range []struct {
		m    spec.Mount
		want []string // type, source, options
		err  error
	}{
		{m: spec.Mount{Source: dir}, want: []string{"bind", dir, "rbind", "rprivate"}},
		{m: spec.Mount{Kind: spec.Bind, Source: dir, ReadOnly: true, Propagation: spec.Slave}, want: []string{"bind", dir, "rbind", "rslave", "rro"}},
		{m: spec.Mount{Source: file, ReadOnly: true}, want: []string{"bind", file, "rbind", "rprivate", "ro"}},
		{m: spec.Mount{Source: filepath.Join(dir, "missing")}, err: errdefs.ErrNotFound},
		{m: spec.Mount{Source: "relative"}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Source: dir, Propagation: "rshared"}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Source: dir, Size: 1}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Source: dir, Exec: true}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: spec.Tmpfs}, want: []string{"tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777", "noexec"}},
		{m: spec.Mount{Kind: spec.Tmpfs, Size: 5, Mode: 0o700, Exec: true, ReadOnly: true}, want: []string{"tmpfs", "tmpfs", "nosuid", "nodev", "mode=700", "ro", "size=5"}},
		{m: spec.Mount{Kind: spec.Tmpfs, Mode: fs.ModeSetuid}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: spec.Tmpfs, Size: -1}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: spec.Volume}, want: []string{"bind", "", "rbind", "rprivate"}},
		{m: spec.Mount{Kind: spec.Volume, ReadOnly: true}, want: []string{"bind", "", "rbind", "rprivate", "ro"}},
		{m: spec.Mount{Kind: spec.Volume, CreateSource: true}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: spec.Files, FS: fstest.MapFS{}}, want: []string{"bind", "", "rbind", "rprivate", "ro"}},
		{m: spec.Mount{Kind: spec.Files}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: spec.Image, Manifest: manifest}, want: []string{"bind", "", "rbind", "rprivate", "ro"}},
		{m: spec.Mount{Source: dir, Manifest: manifest}, err: errdefs.ErrInvalidArgument},
		{m: spec.Mount{Kind: "other"}, err: errdefs.ErrInvalidArgument},
	} {
		test.m.Target = "/at/../to"
		s, err := test.m.Spec()
		if test.err != nil {
			require.ErrorIs(t, err, test.err, "%+v", test.m)
			require.ErrorContains(t, err, `mount on "/at/../to"`)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, specs.Mount{Destination: "/to", Type: test.want[0], Source: test.want[1], Options: test.want[2:]}, s)
	}
	for _, target := range []string{"", "/", "relative", "/proc", "/proc/sys", "/a\x00"} {
		_, err := spec.Mount{Kind: spec.Tmpfs, Target: target}.Spec()
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, target)
	}
}

// A source that is missing is made where that is asked for, and goes again unless it is
// used.
func TestMakeSource(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	m := spec.Mount{Source: deep, Target: "/x"}
	undo, err := m.MakeSource()
	require.NoError(t, err)
	undo()
	require.NoDirExists(t, filepath.Join(dir, "a"), "it is not asked for")
	m.CreateSource = true
	for range 2 {
		undo, err = m.MakeSource()
		require.NoError(t, err)
		st, err := os.Stat(deep)
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o755, st.Mode())
		undo()
		require.NoDirExists(t, filepath.Join(dir, "a"))
	}
	undo, err = m.MakeSource()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(deep, "used"), nil, 0o600))
	undo()
	require.FileExists(t, filepath.Join(deep, "used"))
	m.Source = "/proc/nothing/below"
	_, err = m.MakeSource()
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	m.Source = filepath.Join(deep, "used", "below")
	_, err = m.MakeSource()
	require.NoError(t, err)
	_, err = m.Spec()
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "a file is on the way")
}

func TestUlimits(t *testing.T) {
	t.Parallel()
	type ulimit struct{ Soft, Hard int64 }
	list, err := spec.Ulimits(map[string]ulimit{"nofile": {Soft: 5}, "core": {Hard: -1}, "nproc": {1, 2}})
	require.NoError(t, err)
	require.Equal(t, []specs.POSIXRlimit{
		{Type: "RLIMIT_CORE", Soft: 0, Hard: math.MaxUint64},
		{Type: "RLIMIT_NOFILE", Soft: 5, Hard: 5},
		{Type: "RLIMIT_NPROC", Soft: 1, Hard: 2},
	}, list)
	for name, u := range map[string]ulimit{"other": {}, "NOFILE": {}, "nofile": {2, 1}, "core": {-2, 0}, "nproc": {-1, 5}} {
		_, err := spec.Ulimits(map[string]ulimit{name: u})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, name)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	type device struct{ Source, Target, Access string }
	list, err := spec.Devices([]device{{Source: "/dev/null"}, {"/dev/null", "/dev/other", "r"}})
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{"/dev/null", "rwm"}, []string{list[0].Path, list[0].Access})
	require.Equal(t, []string{"/dev/other", "r"}, []string{list[1].Path, list[1].Access})
	require.Equal(t, [2]int64{1, 3}, [2]int64{list[1].Major, list[1].Minor})
	for _, d := range []device{{Source: "dev/null"}, {Source: "/dev/../dev/null"}, {"/dev/null", "null", ""}, {"/dev/null", "", "x"}} {
		_, err := spec.Devices([]device{d})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, d)
	}
}

func TestBlockIO(t *testing.T) {
	t.Parallel()
	type rate struct{ ReadBytes, WriteBytes, Reads, Writes uint64 }
	b, err := spec.BlockIO(0, map[string]rate(nil))
	require.NoError(t, err)
	require.Nil(t, b)
	b, err = spec.BlockIO(10, map[string]rate(nil))
	require.NoError(t, err)
	require.EqualValues(t, 10, *b.Weight)
	for _, weight := range []uint16{9, 1001} {
		_, err = spec.BlockIO(weight, map[string]rate(nil))
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
	_, err = spec.BlockIO(0, map[string]rate{"/dev/null": {Reads: 1}})
	require.ErrorContains(t, err, "/dev/null", "it is no disk")
}
