package spec

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

// Bind is a mount of a file or directory of the host, with all that is mounted
// below it.
func Bind(source, target, propagation string, readOnly bool) (specs.Mount, error) {
	target, err := mountOn(target)
	if err != nil {
		return specs.Mount{}, err
	}
	if !filepath.IsAbs(source) || strings.ContainsRune(source, 0) {
		return specs.Mount{}, fmt.Errorf("the source %q must be an absolute path without zero bytes: %w", source, errdefs.ErrInvalidArgument)
	}
	info, err := os.Stat(source)
	if errors.Is(err, fs.ErrNotExist) {
		return specs.Mount{}, fmt.Errorf("source: %w: %w", err, errdefs.ErrNotFound)
	} else if err != nil {
		return specs.Mount{}, fmt.Errorf("source: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	options := []string{"rbind", propagation}
	switch {
	case readOnly && info.IsDir():
		// Recursively: with "ro" alone, mounts below it stay writable.
		options = append(options, "rro")
	case readOnly:
		options = append(options, "ro") // nothing is below a file, and crun 1.8 fails there
	}
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: options}, nil
}

// Volume is a mount of a directory that is the engine's, and not known yet.
func Volume(target string, readOnly bool) (specs.Mount, error) {
	target, err := mountOn(target)
	if err != nil {
		return specs.Mount{}, err
	}
	options := []string{"rbind", "rprivate"}
	if readOnly {
		options = append(options, "ro") // nothing is mounted below
	}
	return specs.Mount{Type: "bind", Destination: target, Options: options}, nil
}

// Memory says how a tmpfs is.
type Memory struct {
	Size           int64       // in bytes, at most; 0 is the kernel's default
	Mode           fs.FileMode // 0: 1777
	Exec, ReadOnly bool
}

// Tmpfs is a mount of memory.
func Tmpfs(target string, m Memory) (specs.Mount, error) {
	target, err := mountOn(target)
	if err != nil {
		return specs.Mount{}, err
	}
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
	return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: options}, nil
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
