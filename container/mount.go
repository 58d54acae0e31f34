package container

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/spec"
)

// MountType is the kind of a Mount.
type MountType string

// The kinds of mounts.
const (
	Bind  MountType = "bind"  // a file or directory of the host
	Tmpfs MountType = "tmpfs" // memory, empty at first

	// Volume is a directory that outlives the container: see package volume. What
	// the image has at the target is copied into it by the first container that
	// uses it.
	Volume MountType = "volume"

	// Image is what an image holds, which can't be written to: image.Image.Mount.
	Image MountType = "image"

	// Files are a copy of what Mount.FS holds when New is called, which can't be
	// written to, and goes with the container.
	Files MountType = "files"
)

// Mount is something of the host, of memory, or that outlives it, in a container. A
// field that does not fit the Type is ctor.ErrInvalid.
type Mount struct {
	// Type is what to mount. "" means Bind.
	Type MountType

	// Source is a path on the host, for Bind: absolute, and there. A source
	// that is missing is ctor.ErrNotFound, without CreateSource. For Volume it is the
	// volume's name: one that is missing is made. "" is a volume without a name, of
	// this container alone, which goes with it; its files can be read while the
	// container runs. For Image it is the image's name, which only errors tell.
	//
	// What the host mounts at Source, or above it, after the engine's first container
	// was made is seen by containers if the host's root is shared, as systemd has it
	// (mount --make-rshared / does it), and by detached containers always. Otherwise
	// they see what lies below that mount.
	Source string

	// Target is where the container has it: an absolute path other than /,
	// and not in /proc. It is made in the container if missing.
	Target string

	// ReadOnly keeps the container from writing to it, and to whatever is
	// mounted below Source on the host. Image and Files always are.
	ReadOnly bool

	// FS is what Files copies, as [FS.CopyIn] does: an embed.FS, an os.DirFS.
	FS fs.FS

	// Manifest is that of an Image, whose layers the container keeps.
	Manifest ocispec.Descriptor

	// CreateSource makes the Source of a Bind that is missing: a directory, of root
	// and for all to read, with those above it. When New fails they are gone again.
	CreateSource bool

	// Propagation says whether what the host mounts below the Source of a Bind, or
	// unmounts there, while the container runs is mounted there as well. What a
	// container mounts never comes to the host. "" means PropagatePrivate.
	Propagation Propagation

	// Size bounds a Tmpfs, in bytes; the kernel rounds up to pages. 0 means
	// half of the host's memory. What is in it counts as the container's
	// memory.
	Size int64

	// Mode is that of a Tmpfs: permissions and fs.ModeSticky. 0 means 1777, for all
	// to write, as in /tmp.
	Mode fs.FileMode

	// Exec lets programs in a Tmpfs be executed.
	Exec bool
}

// Propagation is what of the host's later mounts a container gets.
type Propagation string

// The kinds of propagation. With PropagateSlave, Source must be below a mount of the
// host that is shared, as systemd makes all of them: see mount_namespaces(7).
const (
	PropagatePrivate Propagation = "rprivate" // nothing
	PropagateSlave   Propagation = "rslave"   // all below Source
)

// spec is the mount as the runtime is told it; of a volume, without its source.
func (m Mount) spec() (s specs.Mount, err error) {
	if err = m.check(); err == nil {
		switch m.Type {
		case Tmpfs:
			s, err = spec.Tmpfs(m.Target, spec.Memory{Size: m.Size, Mode: m.Mode, Exec: m.Exec, ReadOnly: m.ReadOnly})
		case Volume:
			s, err = spec.Volume(m.Target, m.ReadOnly)
		case Files, Image:
			s, err = spec.Volume(m.Target, true)
		default:
			s, err = spec.Bind(m.Source, m.Target, cmp.Or(string(m.Propagation), string(PropagatePrivate)), m.ReadOnly)
		}
	}
	if err != nil {
		return s, fmt.Errorf("mount on %q: %w", m.Target, err)
	}
	return s, nil
}

// check finds fields that don't fit the type.
func (m Mount) check() error {
	const modes = fs.ModePerm | fs.ModeSticky
	switch {
	case !slices.Contains([]MountType{Bind, Tmpfs, Volume, Image, Files, ""}, m.Type):
		return invalid("unknown type %q", m.Type)
	case (m.Type == Files) != (m.FS != nil) || m.Type == Files && m.Source != "":
		return invalid("Files has FS and no source, and nothing else has FS")
	case (m.Type == Image) != (m.Manifest.Digest != ""):
		return invalid("Image has a Manifest, as image.Image.Mount sets it, and nothing else has")
	case m.Type == Tmpfs && (m.Source != "" || m.Size < 0):
		return invalid("Tmpfs has no source, and no negative size")
	case m.Type != Tmpfs && m.Size != 0:
		return invalid("only Tmpfs has a size")
	case m.Type != Tmpfs && (m.Mode != 0 || m.Exec):
		return invalid("only Tmpfs has Mode and Exec")
	case m.Mode&^modes != 0:
		return invalid("mode %v: it may have permissions and fs.ModeSticky", m.Mode)
	case m.Type != Bind && m.Type != "" && (m.CreateSource || m.Propagation != ""):
		return invalid("only Bind has CreateSource and Propagation")
	case m.Propagation != "" && m.Propagation != PropagatePrivate && m.Propagation != PropagateSlave:
		return invalid("propagation %q: it must be %q or %q", m.Propagation, PropagatePrivate, PropagateSlave)
	}
	return nil
}

// createSource makes the source where that is asked for. undo removes the
// directories that were made, unless something is in them by then.
func (m Mount) createSource() (undo func(), err error) {
	undo = func() {}
	if !m.CreateSource || !filepath.IsAbs(m.Source) || m.check() != nil {
		return undo, nil
	}
	var missing []string
	for dir := filepath.Clean(m.Source); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break // also what can't be looked at, as MkdirAll will say
		}
		missing = append(missing, dir)
	}
	undo = func() {
		for _, dir := range missing {
			_ = os.Remove(dir)
		}
	}
	for _, dir := range slices.Backward(missing) {
		err = os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Chmod(dir, 0o755) // whatever the program's umask is
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			undo()
			return nil, fmt.Errorf("mount on %q: source: %w: %w", m.Target, err, errdefs.ErrInvalidArgument)
		}
	}
	return undo, nil
}

// invalid makes an error of class ctor.ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
