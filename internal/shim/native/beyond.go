package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// errBeyond is the error of a step that finds something for the other executor.
var errBeyond = errors.New("another executor does it")

func beyondf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errBeyond)
}

// beyond tells what of a configuration the other executor is to do; "" is nothing.
// What is wrong with one is its to say, too.
func beyond(b task.Bundle) string {
	s := b.Spec
	switch {
	case s == nil || s.Process == nil || s.Linux == nil || len(s.Process.Args) == 0:
		return "a configuration without a process, its arguments or the linux section"
	case b.Images != "":
		return "a restore"
	case s.Annotations[task.CriuAnnotation] != "":
		return "a container that is to be checkpointed"
	case hasHooks(s.Hooks):
		return "hooks"
	case !filepath.IsAbs(s.Linux.CgroupsPath) && cgroup.Absent() == nil, filepath.Clean(s.Linux.CgroupsPath) == "/":
		return "a cgroup without a path of its own"
	}
	for _, what := range []string{beyondLinux(s.Linux), beyondNamespaces(s.Linux.Namespaces), beyondNames(s), beyondProcess(s.Process)} {
		if what != "" {
			return what
		}
	}
	return ""
}

func hasHooks(h *specs.Hooks) bool {
	//lint:ignore SA1019 what is deprecated may be there all the same
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer)+len(h.Poststart)+len(h.Poststop) > 0
}

func beyondLinux(l *specs.Linux) string {
	switch {
	case !wholeUsers(l):
		return "users of a namespace that is another's, or a namespace without users"
	case l.RootfsPropagation != "":
		return "propagation of the root file system"
	case l.MountLabel != "":
		return "a label for mounts"
	case l.IntelRdt != nil:
		return "Intel RDT"
	case l.MemoryPolicy != nil:
		return "a memory policy"
	case len(l.NetDevices) > 0:
		return "network devices"
	case len(l.TimeOffsets) > 0:
		return "a time namespace"
	case l.Resources != nil && l.Resources.CPU != nil && (l.Resources.CPU.RealtimePeriod != nil || l.Resources.CPU.RealtimeRuntime != nil):
		return "realtime limits"
	}
	return ""
}

// wholeUsers tells whether there is a new user namespace and who is in it, or neither.
func wholeUsers(l *specs.Linux) bool {
	own := false
	for _, n := range l.Namespaces {
		if n.Type == specs.UserNamespace {
			own = true
			if n.Path != "" {
				return false
			}
		}
	}
	return own == (len(l.UIDMappings) > 0) && own == (len(l.GIDMappings) > 0)
}

func beyondProcess(p *specs.Process) string {
	switch {
	case !filepath.IsAbs(p.Cwd):
		return "a relative working directory"
	case p.Scheduler != nil:
		return "a scheduler"
	case p.IOPriority != nil:
		return "an I/O priority"
	case p.ExecCPUAffinity != nil:
		return "a CPU affinity"
	case p.SelinuxLabel != "" && !hasSELinux():
		return "a label of SELinux, which is off"
	}
	return ""
}

func beyondNamespaces(all []specs.LinuxNamespace) string {
	var seen []specs.LinuxNamespaceType
	for _, n := range all {
		if _, known := namespaces[n.Type]; !known && n.Type != specs.UserNamespace || slices.Contains(seen, n.Type) {
			return "namespace " + string(n.Type)
		}
		if n.Type == specs.MountNamespace && n.Path != "" {
			return "another's mount namespace"
		}
		seen = append(seen, n.Type)
	}
	if !slices.Contains(seen, specs.MountNamespace) {
		return "the host's mount namespace"
	}
	return ""
}

// hasSELinux tells whether the host has it on.
func hasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// beyondNames finds what would be set on the host: only what is a namespace's of the
// container is set here. The other executor refuses the rest, as runc always has.
func beyondNames(s *specs.Spec) string {
	own := map[specs.LinuxNamespaceType]bool{}
	for _, n := range s.Linux.Namespaces {
		own[n.Type] = n.Path == ""
	}
	if s.Hostname+s.Domainname != "" && !own[specs.UTSNamespace] {
		return "a name without a namespace for it"
	}
	for name, value := range s.Linux.Sysctl {
		path := sysctlPath(name)
		if !filepath.IsLocal(path) || path != filepath.Clean(path) || strings.ContainsRune(path+value, 0) || !own[sysctlNamespace(path)] {
			return "sysctl " + name
		}
	}
	return ""
}

// sysctlNamespace is the namespace that a sysctl is a part of, by the path of its file;
// "" is the host.
func sysctlNamespace(path string) specs.LinuxNamespaceType {
	switch top, rest, _ := strings.Cut(path, "/"); {
	case top == "net":
		return specs.NetworkNamespace
	case top == "fs" && strings.HasPrefix(rest, "mqueue/"), top == "kernel" && slices.Contains(systemV, rest):
		return specs.IPCNamespace
	case path == "kernel/domainname":
		return specs.UTSNamespace
	}
	return ""
}

var systemV = []string{"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}
