package container_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
)

// A small file, of a container in each state.
func BenchmarkReadFile(b *testing.B) {
	img := busybox(b)
	for _, s := range states {
		b.Run(string(s), func(b *testing.B) {
			f := inState(b, img, s, container.Config{}).FS()
			for b.Loop() {
				_, err := f.ReadFile("etc/passwd")
				require.NoError(b, err)
			}
		})
	}
}

// A thousand files of 4 KiB into a container that runs: by CopyIn, and as
// docker cp does it, as a tar that a program of the image unpacks.
func BenchmarkCopyIn(b *testing.B) {
	const files, size = 1000, 4 << 10
	tree := fstest.MapFS{}
	for i := range files {
		tree[fmt.Sprintf("dir%d/%d", i%10, i)] = &fstest.MapFile{Data: make([]byte, size), Mode: 0o644}
	}
	c := inState(b, busybox(b), container.Running, container.Config{})
	require.NoError(b, c.FS().CopyIn(b.Context(), "tmp/src", tree))
	r, err := c.FS().CopyOut(b.Context(), "tmp/src")
	require.NoError(b, err)
	packed, err := io.ReadAll(r)
	require.NoError(b, err)
	b.Run("CopyIn", func(b *testing.B) {
		b.SetBytes(files * size)
		for b.Loop() {
			require.NoError(b, c.FS().CopyIn(b.Context(), "tmp/copied", tree))
		}
	})
	b.Run("Untar", func(b *testing.B) {
		b.SetBytes(files * size)
		for b.Loop() {
			require.NoError(b, c.FS().Untar(b.Context(), "tmp/untarred", bytes.NewReader(packed)))
		}
	})
	b.Run("tar in the container", func(b *testing.B) {
		b.SetBytes(files * size)
		require.NoError(b, c.FS().MkdirAll("tmp/exec", 0o755))
		for b.Loop() {
			cmd := c.Command(b.Context(), "busybox", "tar", "-xf", "-", "-C", "/tmp/exec")
			cmd.Stdin = bytes.NewReader(packed)
			out, err := cmd.CombinedOutput()
			require.NoError(b, err, "%s", out)
		}
	})
}
