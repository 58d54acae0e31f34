package rootfs

import (
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/thread"
)

// OpenDetached and OpenApart are the two ways of Open and OpenWritable: which
// of them it takes depends on the kernel.
func OpenDetached(mounts []mount.Mount, _ string, writable bool) (*Root, error) {
	dir, err := openDetached(mounts, writable)
	if err != nil {
		return nil, err
	}
	return newRoot(dir)
}

func OpenApart(mounts []mount.Mount, at string, writable bool) (r *Root, err error) {
	var dir *os.File
	thread.Apart(func() { dir, err = openApart(mounts, at, writable) })
	if err != nil {
		return nil, err
	}
	return newRoot(dir)
}

// Path is where a program finds r, as long as this one runs.
func (r *Root) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.dir.Fd()) }

// Extent, NewExtent and Fewer are for the test of fewer.
type Extent = extent

func NewExtent(start, end int64) Extent { return extent{start, end} }

func (e extent) Start() int64 { return e.start }
func (e extent) End() int64   { return e.end }

func Fewer(list []Extent, most int) []Extent { return fewer(list, most) }
