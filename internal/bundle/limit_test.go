package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// What the next life may use changes, and nothing else.
func TestLimit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	require.NoError(t, Create(dir, []byte(`{"new":{"a":1},"linux":{"cgroupsPath":"/x","resources":{"pids":{"limit":3},"devices":[]}}}`)))
	limit := int64(7)
	require.NoError(t, Limit(dir, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}))
	b, err := os.ReadFile(filepath.Join(dir, config))
	require.NoError(t, err)
	require.JSONEq(t, `{"new":{"a":1},"linux":{"cgroupsPath":"/x","resources":{"pids":{"limit":7}}}}`, string(b))
	require.ErrorIs(t, Limit(dir+"x", nil), os.ErrNotExist)
}
