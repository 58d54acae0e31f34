package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// stubs are the empty files and directories that the runtime makes in a command's
// root to mount on. They are no work of the command's, and go when it has ended.
type stubs struct {
	whole *rootfs.Root // the root as it was before
	upper string       // the host's directory that the command writes to
	above bool         // directories that were made for them alone go as well
	made  []string     // the deepest first
}

// newStubs looks at a root that nothing has been written to.
func newStubs(_ context.Context, root []specs.Mount, at string, above bool) (*stubs, error) {
	m := mount.Mount{Type: root[0].Type, Source: root[0].Source, Options: root[0].Options}
	whole, err := rootfs.Open([]mount.Mount{m}, at)
	if err != nil {
		return nil, err
	}
	return &stubs{whole: whole, upper: rootfs.Place(m), above: above}, nil
}

// kept are what the runtime makes in each image that has none, as Docker's does.
var kept = []string{"/proc", "/dev", "/sys"}

// expect notes what will be made to mount on.
func (s *stubs) expect(spec *specs.Spec) error {
	defer s.whole.Close()
	for _, m := range spec.Mounts {
		at := path.Join("/", m.Destination)
		if slices.ContainsFunc(kept, func(k string) bool { return at == k || strings.HasPrefix(at, k+"/") }) {
			continue
		}
		for name := s.whole.Real(at); name != "."; name = path.Dir(name) {
			if _, err := s.whole.Lstat(name); err == nil {
				break
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if !slices.Contains(s.made, name) {
				s.made = append(s.made, name)
			}
			if !s.above {
				break
			}
		}
	}
	slices.SortFunc(s.made, func(a, b string) int { return strings.Compare(b, a) })
	return nil
}

// remove removes those that are as they were made.
func (s *stubs) remove() error {
	s.whole.Close() // again, where expect was not called
	if len(s.made) == 0 {
		return nil
	}
	root, err := os.OpenRoot(s.upper)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range s.made {
		if err := removeStub(root, name); err != nil {
			return err
		}
	}
	return nil
}

// removeStub removes an empty file or directory. The directory that it is in keeps
// its time.
func removeStub(root *os.Root, name string) error {
	st, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() && (st.Size() != 0 || !st.Mode().IsRegular()) {
		return nil
	}
	above, err := root.Stat(path.Dir(name))
	if err != nil {
		return err
	}
	if st.IsDir() && !empty(root, name) {
		return nil
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	return root.Chtimes(path.Dir(name), above.ModTime(), above.ModTime())
}

func empty(root *os.Root, name string) bool {
	d, err := root.Open(name)
	if err != nil {
		return false
	}
	defer d.Close()
	names, _ := d.Readdirnames(1)
	return len(names) == 0
}
