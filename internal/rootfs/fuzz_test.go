package rootfs_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// go test ./internal/rootfs -run '^$' -fuzz FuzzApply -fuzzminimizetime 1x

// Whatever bytes a layer is, it is unpacked or refused, the same in a directory
// and for an overlay, and changes nothing outside of its root.
func FuzzApply(f *testing.F) {
	if os.Geteuid() != 0 {
		f.Skip("needs root")
	}
	low := layerOf(f, dir("d/"), file("d/f", "f"), hard("g", "d/f"), symlink("l", "/d"), symlink("out", "../../.."))
	for _, s := range [][]entry{
		{file("d/.wh.f", ""), file("d/f", "2"), dir("g/"), file("l/x", "x")},
		{file(".wh..wh..opq", ""), hard("h", "g"), file("out/x", "x")},
		{dir("./"), file(".wh.d", ""), dir("d/e/"), hard("d/e/f", "l/f")},
	} {
		f.Add(layerOf(f, s...))
	}
	f.Fuzz(func(t *testing.T, layer []byte) {
		if large(layer) {
			t.Skip("takes its time")
		}
		began := time.Now().Add(-time.Hour)
		var trees [3]map[string]string
		for i, how := range ways {
			m, err := applied(t, how, low, layer)
			if err == nil {
				trees[i] = listed(t, open(t, m).Path(), began)
			}
		}
		require.Equal(t, trees[0], trees[1])
		require.Equal(t, trees[1], trees[2])
	})
}

// large tells of a layer whether its files, with their holes, are.
func large(layer []byte) bool {
	size := int64(0)
	for r := tar.NewReader(bytes.NewReader(layer)); size < 1<<20; {
		h, err := r.Next()
		if err != nil {
			return err == io.EOF && size >= 1<<20
		}
		size += h.Size
	}
	return true
}
