package layer

import (
	"archive/tar"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// This test is inside the package: half a gigabyte of index is no test's business.
func TestTreeIsBounded(t *testing.T) {
	tr := newTree()
	tr.left = 100 * nodeSize
	var err error
	n := 0
	for ; err == nil; n++ {
		err = tr.add(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(n)}, n)
	}
	require.ErrorIs(t, err, errdefs.ErrResourceExhausted)
	require.LessOrEqual(t, n, 100)

	deep := newTree()
	deep.left = 100 * nodeSize
	err = deep.add(&tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("a/", 1000)}, 0)
	require.ErrorIs(t, err, errdefs.ErrResourceExhausted, "implied directories count")

	long := newTree()
	long.left = 100 * nodeSize
	for n, err = 0, nil; err == nil; n++ {
		err = long.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprint(n), Linkname: strings.Repeat("x", 4000)}, n)
	}
	require.LessOrEqual(t, n, 15, "targets of links count")
}
