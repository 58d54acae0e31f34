package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A cgroup right below the root, as one that a caller chooses may be, can be joined like
// any: in version 1's cpuset it has processors and memory.
func TestMakeAtTheTop(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgroup-test-%d", os.Getpid())
	f, err := Begin(path)
	require.NoError(t, err)
	defer func() {
		f.Close()
		require.NoError(t, f.Undo())
	}()
	require.NoError(t, f.Complete())
	all, err := mounted()
	require.NoError(t, err)
	for _, h := range all {
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			text, err := os.ReadFile(filepath.Join(h.dir, path, name))
			if h.two || os.IsNotExist(err) {
				continue
			}
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(string(text)), "%s in %s", name, h.dir)
		}
	}
}
