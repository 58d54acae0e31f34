package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// An engine's root may have any name: a subtest called "a, b" gives such a one.
func TestRoots(t *testing.T) {
	for _, name := range []string{"a, b", `c:d`, `e\f`, `upperdir=g,h`} {
		t.Run("", func(t *testing.T) {
			root := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.Mkdir(root, 0o700))
			e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, e.Close()) })
			img := fixture.Busybox(t, e)
			img, err = img.Derive(t.Context(), "example.org/two:1", nil, fixture.Files(map[string]string{"file": "text"}))
			require.NoError(t, err)
			c, err := img.Run(t.Context(), container.Config{Args: []string{"/bin/sh", "-c", "cat /file > /copy; rm /file"}})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			require.NoError(t, c.Wait(t.Context()))
			img, err = image.Commit(t.Context(), c, "example.org/three:1", nil)
			require.NoError(t, err)
			f, err := img.FS(t.Context())
			require.NoError(t, err)
			defer f.Close()
			b, err := f.ReadFile("copy")
			require.NoError(t, err)
			require.Equal(t, "text", string(b))
			_, err = f.Stat("file")
			require.ErrorIs(t, err, ctor.ErrNotFound)
		})
	}
}
