// Package bundle is the directory that a shim works in for a container: the
// OCI runtime configuration, the mount point of the root file system, and what
// the executor keeps beside them.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/cgroup"
)

const (
	config = "config.json" // OCI runtime-spec, bundle.md
	rootfs = "rootfs"
)

// Rootfs is the mount point in a bundle.
func Rootfs(dir string) string { return filepath.Join(dir, rootfs) }

// Create makes the bundle dir with a configuration, as JSON. One that exists
// is errdefs.ErrAlreadyExists.
func Create(dir string, spec []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("bundle %s: %w", dir, errdefs.ErrAlreadyExists)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.Mkdir(Rootfs(dir), 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, config), spec, 0o600)
}

// Spec reads the configuration.
func Spec(dir string) (*specs.Spec, error) {
	b, err := os.ReadFile(filepath.Join(dir, config))
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

// Annotate adds an annotation to the configuration, unless it has one of that
// name, and makes it one of an OCI version, unless that is "". Its process gets
// the limits, unless limits is nil.
func Annotate(dir, name, value, version string, limits []specs.POSIXRlimit) error {
	return edit(dir, func(all map[string]json.RawMessage) error {
		annotations := map[string]string{}
		if all["annotations"] != nil {
			if err := json.Unmarshal(all["annotations"], &annotations); err != nil {
				return fmt.Errorf("%s: %w: %w", config, err, errdefs.ErrInvalidArgument)
			}
		}
		if _, ok := annotations[name]; !ok {
			annotations[name] = value
		}
		if version != "" {
			if err := set(all, "ociVersion", version); err != nil {
				return err
			}
		}
		if limits != nil {
			if err := inside(all, "process", "rlimits", limits); err != nil {
				return err
			}
		}
		return set(all, "annotations", annotations)
	})
}

// Move says that the root file system is elsewhere than in the bundle.
func Move(dir, rootfs string) error {
	return edit(dir, func(all map[string]json.RawMessage) error { return inside(all, "root", "path", rootfs) })
}

// Limit says that lives to come have other resources.
func Limit(dir string, r *specs.LinuxResources) error {
	return edit(dir, func(all map[string]json.RawMessage) error { return inside(all, "linux", "resources", r) })
}

// edit changes the configuration, as a whole: a shim may be killed in the middle. What else is in it stays as it is, known here
// or not.
func edit(dir string, change func(map[string]json.RawMessage) error) error {
	path := filepath.Join(dir, config)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("%s: %w: %w", config, err, errdefs.ErrInvalidArgument)
	}
	if err := change(all); err != nil {
		return err
	}
	if b, err = json.Marshal(all); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func set(all map[string]json.RawMessage, name string, value any) (err error) {
	all[name], err = json.Marshal(value)
	return err
}

// inside sets a field of an object that is a field, and may be missing.
func inside(all map[string]json.RawMessage, object, name string, value any) error {
	fields := map[string]json.RawMessage{}
	if all[object] != nil {
		if err := json.Unmarshal(all[object], &fields); err != nil {
			return fmt.Errorf("%s: %s: %w: %w", config, object, err, errdefs.ErrInvalidArgument)
		}
	}
	if err := set(fields, name, value); err != nil {
		return err
	}
	return set(all, object, fields)
}

// Sweep kills the container of a bundle whose shim is dead, and removes its
// cgroup. Mounts and namespaces have gone with the shim and the processes.
func Sweep(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, config))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return SweepSpec(b)
}

// SweepSpec is Sweep for a container whose bundle went with its shim.
func SweepSpec(spec []byte) error {
	s, err := Parse(spec)
	if err != nil {
		return nil // it was made no further than to a part of its configuration
	}
	if s.Linux == nil || s.Linux.CgroupsPath == "" {
		return nil
	}
	return cgroup.Remove(s.Linux.CgroupsPath)
}

// Parent is the engine's cgroup that a container's is in; "" if that is somewhere
// else.
func Parent(s *specs.Spec) string {
	if s.Linux == nil {
		return ""
	}
	return cgroup.ParentOf(s.Linux.CgroupsPath)
}

// DropParent removes an engine's cgroup that holds nothing any more.
func DropParent(path string) { cgroup.RemoveEmpty(path) }
