package libcontainer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	_ "github.com/opencontainers/cgroups/devices" // or libcontainer can't set device rules
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// bundleSpec is the bundle's spec with all paths absolute: in runc they are
// relative to the working directory, which runc has in the bundle and a shim
// of many containers can't. The bundle's own stays as it is.
func bundleSpec(b task.Bundle) (*specs.Spec, error) {
	if b.Spec == nil || b.Spec.Process == nil || b.Spec.Linux == nil || len(b.Spec.Process.Args) == 0 {
		return nil, fmt.Errorf("%w: the spec lacks a process, its arguments or the linux section", errdefs.ErrInvalidArgument)
	}
	spec := *b.Spec
	root := specs.Root{Path: b.Rootfs}
	if spec.Root != nil {
		root.Readonly = spec.Root.Readonly
	}
	if !filepath.IsAbs(root.Path) {
		root.Path = filepath.Join(b.Dir, root.Path)
	}
	spec.Root = &root
	spec.Mounts = slices.Clone(spec.Mounts)
	for i, m := range spec.Mounts {
		if isBind(m) && !filepath.IsAbs(m.Source) {
			spec.Mounts[i].Source = filepath.Join(b.Dir, m.Source)
		}
	}
	return &spec, nil
}

func isBind(m specs.Mount) bool {
	return slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// newConfig is the spec in libcontainer's terms.
func newConfig(spec *specs.Spec, b task.Bundle) (*configs.Config, error) {
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: b.ID, Spec: spec, RootlessCgroups: cgroup.Absent() != nil})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	// Hooks are told where the bundle is; libcontainer took the working
	// directory for it.
	for i, label := range config.Labels {
		if strings.HasPrefix(label, "bundle=") {
			config.Labels[i] = "bundle=" + b.Dir
		}
	}
	if _, ok := spec.Annotations[task.CriuAnnotation]; !ok {
		config.Labels = append(config.Labels, task.CriuAnnotation+"="+b.CriuConfig())
	}
	return config, nil
}
