package container

import (
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/spec"
)

// MountType is the kind of a Mount.
type MountType string

// The kinds of mounts.
const (
	Bind  MountType = spec.Bind  // a file or directory of the host
	Tmpfs MountType = spec.Tmpfs // memory, empty at first

	// Volume is a directory that outlives the container: see package volume. What
	// the image has at the target is copied into it by the first container that
	// uses it.
	Volume MountType = spec.Volume

	// Image is what an image holds, which can't be written to: image.Image.Mount.
	Image MountType = spec.Image

	// Files are a copy of what Mount.FS holds when New is called, which can't be
	// written to, and goes with the container.
	Files MountType = spec.Files
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
	PropagatePrivate Propagation = spec.Private // nothing
	PropagateSlave   Propagation = spec.Slave   // all below Source
)

// spec is the mount as package spec has it.
func (m Mount) spec() spec.Mount {
	return spec.Mount{
		Kind: string(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		FS: m.FS, Manifest: m.Manifest, CreateSource: m.CreateSource, Propagation: string(m.Propagation),
		Size: m.Size, Mode: m.Mode, Exec: m.Exec,
	}
}
