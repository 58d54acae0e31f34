package libcontainer

import (
	"runtime/debug"
	"strings"

	"github.com/opencontainers/runc/libcontainer/capabilities"
	"github.com/opencontainers/runc/libcontainer/configs"
	runcseccomp "github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/seccomp"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Describe tells what the executor is. The features are those that the runc
// command of the same version tells of itself.
func Describe() task.About {
	yes := true
	f := &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         configs.KnownHookNames(),
		MountOptions:  specconv.KnownMountOptions(),
		Linux: &features.Linux{
			Namespaces:      specconv.KnownNamespaces(),
			Capabilities:    capabilities.KnownCapabilities(),
			Cgroup:          &features.Cgroup{V1: &yes, V2: &yes, Rdma: &yes},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
		},
	}
	if seccomp.Enabled {
		f.Linux.Seccomp = &features.Seccomp{
			Enabled:        &yes,
			Actions:        runcseccomp.KnownActions(),
			Operators:      runcseccomp.KnownOperators(),
			Archs:          runcseccomp.KnownArchs(),
			KnownFlags:     runcseccomp.KnownFlags(),
			SupportedFlags: runcseccomp.SupportedFlags(),
		}
	}
	return task.About{Name: "libcontainer", Version: version(), Seccomp: seccomp.Enabled, Features: f}
}

// version is that of runc's module.
func version() string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == "github.com/opencontainers/runc" {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return ""
}
