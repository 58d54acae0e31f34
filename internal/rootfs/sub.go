package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// ReadOnly is a snapshot's mount with all that is written in it, to read alone.
func ReadOnly(m mount.Mount) mount.Mount {
	if m.Type == "overlay" {
		l := layersOf(m, true)
		if l.upper != "" {
			l.lower = slices.Insert(l.lower, 0, l.upper)
			l.upper, l.work = "", ""
		}
		return l.at("")
	}
	m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "rw" || o == "ro" })
	m.Options = append(m.Options, "ro")
	return m
}

// Place names the directory by which the files of a snapshot's mount are known:
// where it is written to, else the uppermost.
func Place(m mount.Mount) string {
	if m.Type != "overlay" {
		return m.Source
	}
	l := layersOf(m, true)
	if l.upper != "" {
		return l.upper
	}
	return l.lower[0]
}

// Sub is the mount of what has a name in a snapshot, and what is below it, without
// mounting the whole. at is a directory to mount on, as for Open. The name is
// resolved as in a container that has the snapshot as its root; no one may change
// the snapshot meanwhile. Of a writable overlay the directory is made in its upper
// directory.
func Sub(m mount.Mount, at, name string) (_ mount.Mount, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	root, err := OpenWhole([]mount.Mount{m}, at)
	if err != nil {
		return m, err
	}
	defer root.Close()
	st, err := root.Stat(name)
	if err != nil {
		return m, errors.Unwrap(err)
	}
	real := root.Real(name)
	if m.Type != "overlay" {
		m.Source = filepath.Join(m.Source, real)
		return m, nil
	}
	l := layersOf(m, true)
	all := l.lower
	if l.upper != "" {
		all = slices.Insert(slices.Clone(l.lower), 0, l.upper)
	}
	found, err := below(all, real)
	if err != nil || len(found) == 0 {
		return m, errors.Join(err, errLost)
	}
	if !st.IsDir() {
		m = mount.Mount{Type: "bind", Source: found[0], Options: []string{"bind"}}
		if l.upper == "" {
			m.Options = append(m.Options, "ro")
		}
		return m, nil
	}
	if l.upper == "" {
		l.lower = found
		return l.at(""), nil
	}
	return l.into(real, found)
}

// into makes the directory name in the upper directory, and mounts that over what
// was found of it in the layers.
func (l layers) into(name string, found []string) (m mount.Mount, err error) {
	upper := filepath.Join(l.upper, name)
	if found[0] != upper {
		if err := os.MkdirAll(upper, 0o755); err != nil {
			return m, err
		}
		if err := likewise(found[0], upper); err != nil {
			return m, err
		}
	} else {
		found = found[1:]
	}
	l.lower = found
	if len(found) == 0 { // it is in the upper directory alone
		return mount.Mount{Type: "bind", Source: upper, Options: []string{"bind"}}, nil
	}
	return l.at(upper), nil
}

// likewise gives a directory the owner and mode of another.
func likewise(from, to string) error {
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	s := st.Sys().(*syscall.Stat_t)
	if err := os.Lchown(to, int(s.Uid), int(s.Gid)); err != nil {
		return err
	}
	return os.Chmod(to, st.Mode())
}

// at is the mount of the layers, with upper to write to, "" for none.
func (l layers) at(upper string) mount.Mount {
	if upper == "" && len(l.lower) == 1 {
		return mount.Mount{Type: "bind", Source: l.lower[0], Options: []string{"bind", "ro"}}
	}
	options := slices.Clone(l.options)
	if upper == "" {
		options = append(options, "ro")
	} else {
		options = append(options, "upperdir="+escaped.Replace(upper), "workdir="+escaped.Replace(l.work))
	}
	return mount.Mount{Type: "overlay", Source: "overlay", Options: append(options, lowerOption(l.lower))}
}

// below follows a name, in which no element is a link, down the layers of an
// overlay, the top one first: the directories that are laid over each other there,
// or the one file.
func below(layers []string, name string) ([]string, error) {
	if name == "." {
		return layers, nil
	}
	for elem := range strings.SplitSeq(path.Clean(name), "/") {
		var next []string
		for _, dir := range layers {
			at := filepath.Join(dir, elem)
			st, err := os.Lstat(at)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if !st.IsDir() {
				if len(next) == 0 && st.Mode()&fs.ModeCharDevice == 0 {
					next = append(next, at)
				}
				break // it hides what is below, and so does the mark of what was removed
			}
			next = append(next, at)
			if opaque(at) {
				break
			}
		}
		layers = next
	}
	return layers, nil
}

// opaque tells whether a layer's directory hides those below.
func opaque(dir string) bool {
	for _, space := range []string{"trusted", "user"} {
		var value [1]byte
		n, err := unix.Getxattr(dir, space+".overlay.opaque", value[:])
		if err == nil && n == 1 && value[0] == 'y' {
			return true
		}
	}
	return false
}
