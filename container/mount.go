package container

import (
	"fmt"

	"github.com/containerd/errdefs"
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
)

// Mount is something of the host, of memory, or that outlives it, in a container. A
// field that does not fit the Type is ctor.ErrInvalid.
type Mount struct {
	// Type is what to mount. "" means Bind.
	Type MountType

	// Source is a path on the host, for Bind: absolute, and there. A source
	// that is missing is ctor.ErrNotFound; it is never made. For Volume it is the
	// volume's name: one that is missing is made. "" is a volume without a name, of
	// this container alone, which goes with it.
	Source string

	// Target is where the container has it: an absolute path other than /,
	// and not in /proc. It is made in the container if missing.
	Target string

	// ReadOnly keeps the container from writing to it, and to whatever is
	// mounted below Source on the host.
	ReadOnly bool

	// Size bounds a Tmpfs, in bytes; the kernel rounds up to pages. 0 means
	// half of the host's memory. What is in it counts as the container's
	// memory.
	Size int64
}

// spec is the mount as the runtime is told it; of a volume, without its source.
func (m Mount) spec() (s specs.Mount, err error) {
	switch {
	case m.Type == Tmpfs && (m.Source != "" || m.Size < 0):
		err = invalid("Tmpfs has no source, and no negative size")
	case m.Type == Tmpfs:
		s, err = spec.Tmpfs(m.Target, m.Size, m.ReadOnly)
	case m.Type == Volume && m.Size != 0:
		err = invalid("a volume has no size")
	case m.Type == Volume:
		s, err = spec.Volume(m.Target, m.ReadOnly)
	case m.Type != Bind && m.Type != "":
		err = invalid("unknown type %q", m.Type)
	case m.Size != 0:
		err = invalid("only Tmpfs has a size")
	default:
		s, err = spec.Bind(m.Source, m.Target, m.ReadOnly)
	}
	if err != nil {
		return s, fmt.Errorf("mount on %q: %w", m.Target, err)
	}
	return s, nil
}

// invalid makes an error of class ctor.ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
