package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// MountType is the kind of a Mount.
type MountType string

// The kinds of mounts.
const (
	Bind  MountType = "bind"  // a file or directory of the host
	Tmpfs MountType = "tmpfs" // memory, empty at first
)

// Mount is something of the host, or of memory, in a container. A field that
// does not fit the Type is ctor.ErrInvalid.
type Mount struct {
	// Type is what to mount. "" means Bind.
	Type MountType

	// Source is a path on the host, for Bind: absolute, and there. A source
	// that is missing is ctor.ErrNotFound; it is never made.
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

func (m Mount) spec() (_ specs.Mount, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mount on %q: %w", m.Target, err)
		}
	}()
	target := filepath.Clean(m.Target)
	switch {
	case !filepath.IsAbs(m.Target) || target == "/":
		return specs.Mount{}, invalid("the target must be an absolute path below /")
	case target == "/proc" || strings.HasPrefix(target, "/proc/"):
		return specs.Mount{}, invalid("the target must not be in /proc")
	case strings.ContainsRune(m.Target+m.Source, 0):
		return specs.Mount{}, invalid("a path holds a zero byte")
	}
	switch m.Type {
	case Bind, "":
		return m.bind(target)
	case Tmpfs:
		return m.tmpfs(target)
	}
	return specs.Mount{}, invalid("unknown type %q", m.Type)
}

func (m Mount) bind(target string) (specs.Mount, error) {
	if m.Size != 0 {
		return specs.Mount{}, invalid("only Tmpfs has a size")
	}
	if !filepath.IsAbs(m.Source) {
		return specs.Mount{}, invalid("the source %q must be an absolute path", m.Source)
	}
	source, err := os.Stat(m.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return specs.Mount{}, fmt.Errorf("source: %w: %w", err, errdefs.ErrNotFound)
	} else if err != nil {
		return specs.Mount{}, fmt.Errorf("source: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	options := []string{"rbind", "rprivate"}
	switch {
	case m.ReadOnly && source.IsDir():
		// Recursively: with "ro" alone, mounts below it stay writable.
		options = append(options, "rro")
	case m.ReadOnly:
		options = append(options, "ro") // nothing is below a file, and crun 1.8 fails there
	}
	return specs.Mount{Type: "bind", Source: m.Source, Destination: target, Options: options}, nil
}

func (m Mount) tmpfs(target string) (specs.Mount, error) {
	if m.Source != "" || m.Size < 0 {
		return specs.Mount{}, invalid("Tmpfs has no source, and no negative size")
	}
	options := []string{"nosuid", "nodev", "noexec", "mode=1777"}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.Size > 0 {
		options = append(options, fmt.Sprintf("size=%d", m.Size))
	}
	return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: options}, nil
}

// invalid makes an error of class ctor.ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
