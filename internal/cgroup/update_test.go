package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// A limit that is lower than what is in use is set if the kernel can do without some of
// that, such as files that were read, however often; and if not, nothing changes.
func TestUpdateLower(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-lower-%d", os.Getpid())
	fresh(t, path)
	t.Cleanup(func() { require.NoError(t, Remove(path)) })
	dir := At(path).Dir("memory")
	limit := func(bytes int64) error {
		return Update(path, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &bytes}})
	}
	limits := func() string {
		var all strings.Builder
		for _, name := range []string{"memory.limit_in_bytes", "memory.max", "memory.high"} {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			all.Write(b)
		}
		return all.String()
	}
	require.NoError(t, limit(256<<20))

	file := filepath.Join(t.TempDir(), "file")
	inhabit(t, []string{dir}, fmt.Sprintf("dd if=/dev/zero of=%[1]s bs=1M count=64 conv=fsync 2>/dev/null; cat %[1]s %[1]s %[1]s >/dev/null; echo; read go", file))
	c, err := At(path).Count()
	require.NoError(t, err)
	require.Greater(t, c.Memory, int64(32<<20), "the kernel does not call it inactive")
	require.NoError(t, limit(16<<20))
	c, err = At(path).Count()
	require.NoError(t, err)
	require.EqualValues(t, 16<<20, c.MemoryLimit)

	require.NoError(t, limit(256<<20))
	before := limits()
	inhabit(t, []string{dir}, "x=$(head -c 50331648 /dev/zero | tr '\\0' x); echo; read go")
	err = limit(16 << 20)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	require.ErrorContains(t, err, "memory limit of 16777216 bytes: the container uses ")
	require.Equal(t, before, limits())
}
