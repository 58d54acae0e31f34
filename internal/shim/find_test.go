package shim_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim"
)

// A program that is named as its own shim is one by its role, however it is
// named.
func TestFindSelf(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "other-name")
	require.NoError(t, os.Symlink(self, link))
	for _, name := range []string{self, link, shim.Self} {
		found, err := shim.Find(name)
		require.NoError(t, err)
		require.Equal(t, shim.Self, found, name)
	}
	found, err := shim.Find("/bin/true")
	require.NoError(t, err)
	require.Equal(t, "/bin/true", found)
	_, err = shim.Find(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
}
