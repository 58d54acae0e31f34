package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func TestRoot(t *testing.T) {
	m := func(host uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 10, HostID: 7, Size: 1}, {ContainerID: 0, HostID: host, Size: 10}}
	}
	uid, gid := Root(&specs.Spec{Linux: &specs.Linux{UIDMappings: m(1000), GIDMappings: m(2000)}})
	require.Equal(t, []int{1000, 2000}, []int{uid, gid})
	uid, gid = Root(&specs.Spec{})
	require.Equal(t, []int{0, 0}, []int{uid, gid})
}

// Others pass where they are let, all the way.
func TestAdmits(t *testing.T) {
	top, err := os.MkdirTemp("", "admits-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(top)) })
	dir := filepath.Join(top, "dir")
	require.NoError(t, os.Mkdir(dir, 0o711))
	require.True(t, Admits(dir, 0, 0))
	require.False(t, Admits(dir, 1000, 2000), "the one above is closed")
	require.NoError(t, os.Chmod(top, 0o711))
	require.True(t, Admits(dir, 1000, 2000))
	require.NoError(t, os.Chmod(dir, 0o710))
	require.False(t, Admits(dir, 1000, 2000))
	require.NoError(t, os.Chown(dir, 0, 2000))
	require.True(t, Admits(dir, 1000, 2000), "its group may pass")
	require.False(t, Admits(filepath.Join(dir, "none"), 1000, 2000))
}

// Where the root file system is changes, and nothing else.
func TestMove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, config)
	require.NoError(t, os.WriteFile(path, []byte(`{"new":{"a":1},"root":{"path":"rootfs","readonly":true}}`), 0o600))
	require.NoError(t, Move(dir, "/elsewhere"))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"new":{"a":1},"root":{"path":"/elsewhere","readonly":true}}`, string(b))
}
