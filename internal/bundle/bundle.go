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

	"github.com/ctorhq/ctor/internal/host"
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
	return parse(b)
}

// Annotate adds an annotation to the configuration, unless it has one of that
// name, and makes it one of an OCI version, unless that is "". Its process gets
// the limits, unless limits is nil. What else is in it stays as it is, known here
// or not.
func Annotate(dir, name, value, version string, limits []specs.POSIXRlimit) error {
	path := filepath.Join(dir, config)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	all, annotations := map[string]json.RawMessage{}, map[string]string{}
	if err = json.Unmarshal(b, &all); err == nil && all["annotations"] != nil {
		err = json.Unmarshal(all["annotations"], &annotations)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", config, err, errdefs.ErrInvalidArgument)
	}
	if _, ok := annotations[name]; !ok {
		annotations[name] = value
	}
	if version != "" {
		if all["ociVersion"], err = json.Marshal(version); err != nil {
			return err
		}
	}
	if all["annotations"], err = json.Marshal(annotations); err != nil {
		return err
	}
	if limits != nil {
		if all["process"], err = limited(all["process"], limits); err != nil {
			return err
		}
	}
	if b, err = json.Marshal(all); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func limited(process json.RawMessage, limits []specs.POSIXRlimit) (_ json.RawMessage, err error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(process, &all); err != nil {
		return nil, fmt.Errorf("%s: process: %w: %w", config, err, errdefs.ErrInvalidArgument)
	}
	if all["rlimits"], err = json.Marshal(limits); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

func parse(b []byte) (*specs.Spec, error) {
	var s specs.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", config, err, errdefs.ErrInvalidArgument)
	}
	return &s, nil
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
	s, err := parse(spec)
	if err != nil {
		return nil // it was made no further than to a part of its configuration
	}
	if s.Linux == nil || s.Linux.CgroupsPath == "" {
		return nil
	}
	return host.RemoveCgroup(s.Linux.CgroupsPath)
}

// Parent is the engine's cgroup that a container's is in; "" if that is somewhere
// else.
func Parent(s *specs.Spec) string {
	if s.Linux == nil {
		return ""
	}
	return host.ParentOf(s.Linux.CgroupsPath)
}

// DropParent removes an engine's cgroup that holds nothing any more.
func DropParent(path string) { host.RemoveEmptyCgroup(path) }
