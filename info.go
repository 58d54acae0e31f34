package ctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/version"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/ctorhq/ctor/internal/apparmor"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/userns"
)

// Info is what an engine works with, and what its host lacks. Of an engine
// that Dial made, the host is as this program sees it.
type Info struct {
	Root        string // the directory the engine lives in, absolute
	Namespace   string // containerd's
	Snapshotter string // lays layers over each other

	// Containerd is the version of containerd's services, without v: of those
	// in this program, or of the containerd that Dial has reached.
	Containerd string

	// Shim is the file of the process between the engine and its containers.
	// "" is this program, executed again, and of an engine that Dial made whatever
	// that containerd has.
	Shim string

	// Native tells whether the shim makes containers itself, by the kernel's own
	// calls, in half the time or less. It needs Linux 5.12 and an amd64 or arm64
	// processor, and is not known of an engine that Dial made.
	Native bool

	// Executor is what makes containers where Native is false, and in any case
	// those that Native does not do: with hooks, a label for mounts, and the like.
	// It is "libcontainer", which is part of the shim, or the command "runc" or
	// "crun". "" is none, or not known: a containerd before 2.0 does not tell.
	Executor string

	// ExecutorVersion is its version, without v; "" where Executor is.
	ExecutorVersion string

	// Seccomp names the profile that filters each container's system calls,
	// unless its Config says otherwise. "" is none: Executor has no seccomp,
	// and refuses to make containers with a profile.
	Seccomp string

	// AppArmor names the profile of each container's processes, unless its
	// Config says otherwise. "" is none: the kernel has AppArmor off, or Lacks
	// says why the profile can't be loaded.
	AppArmor string

	// SELinux tells whether the host has it on. Containers get no label of
	// their own: their processes have the one of the shim, unless Config.Spec
	// sets Process.SelinuxLabel and Linux.MountLabel.
	SELinux bool

	// UserNamespace is who there is beside root where the program runs in a user
	// namespace: "mapped", users and groups that were set aside for the one who
	// started it, or "single", none. "" is that it runs as the host's root. Lacks
	// says what such a namespace does without.
	UserNamespace string

	// Cgroup is how the host's cgroups are mounted: "v2"; "v1"; "hybrid", with
	// the controllers in version 1; "" is not at all.
	Cgroup string

	// CgroupParent is the cgroup, in each hierarchy, that those of the
	// engine's containers are in. It is made in the file system, with or
	// without systemd. "" is that there can be none: Lacks says why.
	CgroupParent string

	Systemd bool   // systemd is the host's process 1
	Kernel  string // its release, as uname -r tells it

	// Lacks says what the host has not that containers are to have, one sentence
	// each, that ends with the command that mends it. What no container can be
	// without comes first, and New fails with the same words. It is empty where
	// all is well: what one may do without, as checkpoints, tells by itself what
	// it needs.
	Lacks []string
}

// Info tells what the engine works with. It asks anew each time, starts
// nothing but a command that tells its version, and does not need a container
// that runs. An executor that can't be asked is not an error: Lacks tells of
// it.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	ctx, leave, err := e.in.Enter(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("info of engine: %w", err)
	}
	defer leave()
	facts := host.Survey()
	i := Info{
		Root: e.in.Root, Namespace: e.in.Namespace, Snapshotter: e.in.Snapshotter,
		Containerd: number(version.Version),
		Cgroup:     facts.Cgroup, CgroupParent: cgroup.Parent(e.in.Root, e.in.Namespace),
		Systemd: facts.Systemd, Kernel: facts.Kernel,
		Seccomp: spec.Seccomp, SELinux: facts.SELinux, UserNamespace: kindOf(facts.Users),
	}
	i.add(facts.Lacks, true)
	if err := e.about(ctx, &i); err != nil {
		return Info{}, fmt.Errorf("info of engine: %w", engine.Cause(ctx, err))
	}
	if err := ctx.Err(); err != nil {
		return Info{}, fmt.Errorf("info of engine: %w", context.Cause(ctx))
	}
	if i.AppArmor, err = apparmor.Profile(); err != nil {
		i.Lacks = append(i.Lacks, err.Error())
	}
	i.add(facts.Lacks, false)
	return i, nil
}

func kindOf(who userns.Map) string {
	switch {
	case who.Host():
		return ""
	case who.Single():
		return "single"
	}
	return "mapped"
}

func (i *Info) add(lacks []host.Lack, fatal bool) {
	for _, l := range lacks {
		if l.Fatal == fatal {
			i.Lacks = append(i.Lacks, l.Sentence)
		}
	}
}

// embedded asks what the shim at path is.
func (i *Info) embedded(ctx context.Context, path string) {
	about, err := shim.Describe(ctx, path)
	if err != nil {
		i.Lacks = append(i.Lacks, err.Error())
	} else if !about.Seccomp {
		i.Seccomp = ""
		i.Lacks = append(i.Lacks, noSeccomp(about.Name))
	}
	i.Native, i.Executor, i.ExecutorVersion = about.Native, about.Name, about.Version
	if path != shim.Self {
		i.Shim = path
	}
	if host.Snapshotter(i.Root) == "native" {
		i.Lacks = append(i.Lacks, host.NoOverlay(i.Root))
	}
}

// dialed asks a containerd what it is.
func (i *Info) dialed(ctx context.Context, in *engine.Engine) error {
	v, err := in.Client.Version(ctx)
	if err != nil {
		return err
	}
	i.Containerd = number(v.Version)
	r, err := in.Client.RuntimeInfo(ctx, in.Runtime, nil)
	if err != nil {
		return nil // before 2.0 it can't be asked
	}
	if f, ok := r.Features.(*features.Features); ok && f.Annotations[runcVersion] != "" {
		i.Executor, i.ExecutorVersion = "runc", f.Annotations[runcVersion]
		if f.Linux == nil || f.Linux.Seccomp == nil || f.Linux.Seccomp.Enabled == nil || !*f.Linux.Seccomp.Enabled {
			i.Seccomp = ""
			i.Lacks = append(i.Lacks, noSeccomp("runc"))
		}
	}
	return nil
}

// number is a version as containerd tells it. One that was built without its
// Makefile does not know its revision.
func number(version string) string {
	return strings.TrimSuffix(strings.TrimPrefix(version, "v"), "+unknown")
}

// runcVersion is the annotation in which runc tells its version.
const runcVersion = "org.opencontainers.runc.version"

func noSeccomp(executor string) string {
	return executor + " was built without seccomp, and refuses containers that have a profile: apt-get install runc"
}
