package spec

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kinds of mounts, and of propagation: what the public ones are.
const (
	Bind   = "bind"
	Tmpfs  = "tmpfs"
	Volume = "volume"
	Image  = "image"
	Files  = "files"

	Private = "rprivate"
	Slave   = "rslave"
)

// Mount is a caller's wish for a mount, with the fields of the public Mount.
type Mount struct {
	Kind           string // "": Bind
	Source, Target string
	ReadOnly       bool
	FS             fs.FS              // of Files
	Manifest       ocispec.Descriptor // of an Image
	CreateSource   bool
	Propagation    string // "": Private
	Size           int64
	Mode           fs.FileMode
	Exec           bool
}

// Spec is the mount as the runtime is told it. Of a Volume, of Files and of an Image the
// source is not known yet.
func (m Mount) Spec() (s specs.Mount, err error) {
	if err = m.check(); err == nil {
		s, err = m.spec()
	}
	if err != nil {
		return s, fmt.Errorf("mount on %q: %w", m.Target, err)
	}
	return s, nil
}

func (m Mount) spec() (s specs.Mount, err error) {
	if s.Destination, err = mountOn(m.Target); err != nil {
		return s, err
	}
	switch m.Kind {
	case Tmpfs:
		s.Type, s.Source, s.Options = "tmpfs", "tmpfs", m.memory()
	case Volume, Files, Image:
		s.Type, s.Options = "bind", []string{"rbind", "rprivate"}
		if m.ReadOnly || m.Kind != Volume {
			s.Options = append(s.Options, "ro") // nothing is mounted below
		}
	default:
		s.Type, s.Source = "bind", m.Source
		s.Options, err = m.bind()
	}
	return s, err
}

// check finds fields that don't fit the kind.
func (m Mount) check() error {
	const modes = fs.ModePerm | fs.ModeSticky
	wrong := ""
	switch bound := m.Kind == Bind || m.Kind == ""; {
	case !slices.Contains([]string{Bind, Tmpfs, Volume, Image, Files, ""}, m.Kind):
		wrong = fmt.Sprintf("unknown type %q", m.Kind)
	case (m.Kind == Files) != (m.FS != nil) || m.Kind == Files && m.Source != "":
		wrong = "Files has FS and no source, and nothing else has FS"
	case (m.Kind == Image) != (m.Manifest.Digest != ""):
		wrong = "Image has a Manifest, as image.Image.Mount sets it, and nothing else has"
	case m.Kind == Tmpfs && (m.Source != "" || m.Size < 0):
		wrong = "Tmpfs has no source, and no negative size"
	case m.Kind != Tmpfs && m.Size != 0:
		wrong = "only Tmpfs has a size"
	case m.Kind != Tmpfs && (m.Mode != 0 || m.Exec):
		wrong = "only Tmpfs has Mode and Exec"
	case m.Mode&^modes != 0:
		wrong = fmt.Sprintf("mode %v: it may have permissions and fs.ModeSticky", m.Mode)
	case !bound && (m.CreateSource || m.Propagation != ""):
		wrong = "only Bind has CreateSource and Propagation"
	case m.Propagation != "" && m.Propagation != Private && m.Propagation != Slave:
		wrong = fmt.Sprintf("propagation %q: it must be %q or %q", m.Propagation, Private, Slave)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", wrong, errdefs.ErrInvalidArgument)
}

// bind are the options of a mount of a file or directory of the host, with all that is
// mounted below it.
func (m Mount) bind() ([]string, error) {
	if !filepath.IsAbs(m.Source) || strings.ContainsRune(m.Source, 0) {
		return nil, fmt.Errorf("the source %q must be an absolute path without zero bytes: %w", m.Source, errdefs.ErrInvalidArgument)
	}
	info, err := os.Stat(m.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("source: %w: %w", err, errdefs.ErrNotFound)
	} else if err != nil {
		return nil, fmt.Errorf("source: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	options := []string{"rbind", cmp.Or(m.Propagation, Private)}
	switch {
	case m.ReadOnly && info.IsDir():
		// Recursively: with "ro" alone, mounts below it stay writable.
		options = append(options, "rro")
	case m.ReadOnly:
		options = append(options, "ro") // nothing is below a file, and crun 1.8 fails there
	}
	return options, nil
}

// memory are the options of a mount of memory.
func (m Mount) memory() []string {
	mode := uint32(m.Mode.Perm())
	if m.Mode&fs.ModeSticky != 0 || m.Mode == 0 {
		mode |= 0o1000
	}
	if m.Mode == 0 {
		mode |= 0o777
	}
	options := []string{"nosuid", "nodev", fmt.Sprintf("mode=%o", mode)}
	if !m.Exec {
		options = append(options, "noexec")
	}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.Size > 0 {
		options = append(options, fmt.Sprintf("size=%d", m.Size))
	}
	return options
}

// mountOn gives the path that is mounted on.
func mountOn(target string) (string, error) {
	clean := filepath.Clean(target)
	switch {
	case !filepath.IsAbs(target) || clean == "/":
		return "", fmt.Errorf("the target must be an absolute path below /: %w", errdefs.ErrInvalidArgument)
	case clean == "/proc" || strings.HasPrefix(clean, "/proc/"):
		return "", fmt.Errorf("the target must not be in /proc: %w", errdefs.ErrInvalidArgument)
	case strings.ContainsRune(target, 0):
		return "", fmt.Errorf("the target holds a zero byte: %w", errdefs.ErrInvalidArgument)
	}
	return clean, nil
}
