package host

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/mountinfo"
	"github.com/ctorhq/ctor/internal/userns"
)

// Facts are what a host offers to containers.
type Facts struct {
	Kernel      string   // its release, as uname -r
	Cgroup      string   // V1, Hybrid or V2; "": no cgroups are mounted
	Controllers []string // of the cgroups that containers get
	Systemd     bool     // it is process 1
	AppArmor    bool     // it is on
	SELinux     bool     // likewise
	Lacks       []Lack

	// Users are who there is: of the host, or of a user namespace.
	Users userns.Map

	boxed bool // the root of version 2's hierarchy is not the host's
}

// How cgroups are mounted. A hybrid host has the controllers in version 1's
// hierarchies, and version 2's beside them.
const (
	V1     = "v1"
	Hybrid = "hybrid"
	V2     = "v2"
)

// Lack is something that a host does not have.
type Lack struct {
	Sentence string // what, what it is for, and the command that mends it
	Fatal    bool   // without it no container runs behind all its walls
}

// Survey finds out what this host offers.
func Survey() Facts { return survey(os.DirFS("/"), cgroup.Absent()) }

// Check gives the first lack that keeps containers from running.
func (f Facts) Check() error {
	for _, l := range f.Lacks {
		if l.Fatal {
			what, command, _ := strings.Cut(l.Sentence, ": ")
			return fmt.Errorf("%s (%w): %s", what, errdefs.ErrUnavailable, command)
		}
	}
	return nil
}

// survey reads the files that root holds: those of this host, or recorded ones
// of another. bare says why no cgroups can be made on it.
func survey(root fs.FS, bare error) Facts {
	f := Facts{Kernel: "unknown", Users: usersOf(root)}
	if b, err := fs.ReadFile(root, "proc/sys/kernel/osrelease"); err == nil {
		f.Kernel = strings.TrimSpace(string(b))
	}
	f.Systemd = has(root, "run/systemd/system") // sd_booted(3)
	f.AppArmor, f.SELinux = appArmor(root), seLinux(root)
	f.checkKernel(root)
	f.checkCgroups(root, bare)
	f.checkUsers()
	return f
}

// usersOf reads who there is. A kernel without user namespaces has everybody.
func usersOf(root fs.FS) userns.Map {
	read := func(name string) []byte {
		b, _ := fs.ReadFile(root, "proc/thread-self/"+name)
		return b
	}
	if users := read("uid_map"); users != nil {
		return userns.Parse(users, read("gid_map"), read("setgroups"))
	}
	return userns.Everyone
}

// checkUsers says what a user namespace does without.
func (f *Facts) checkUsers() {
	if f.Users.Host() {
		return
	}
	if f.Users.Single() {
		f.add(false, "root is the only user of this user namespace, so images' files are root's, whoever they belonged to, and no process is another user's: "+
			"apt-get install uidmap, and ctor-userns PROGRAM")
	}
	f.add(false, "a user namespace has no device nodes of its own, so images' are left out, and containers have the host's that its user may open: sudo PROGRAM")
}

func has(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

// words are those of a file; none if it can't be read.
func words(root fs.FS, name string) []string {
	b, _ := fs.ReadFile(root, name)
	return strings.Fields(string(b))
}

func (f *Facts) add(fatal bool, format string, a ...any) {
	f.Lacks = append(f.Lacks, Lack{fmt.Sprintf(format, a...), fatal})
}

// checkKernel looks for what the kernel may lack, by its configuration or its
// age.
func (f *Facts) checkKernel(root fs.FS) {
	if older(f.Kernel, 5, 4) { // waitid with P_PIDFD
		f.add(true, "Linux %s can't wait for a process by its descriptor, which 5.4 can: apt-get install linux-image-amd64 and reboot", f.Kernel)
	}
	if !has(root, "proc/sys/kernel/seccomp/actions_avail") {
		f.add(true, "the kernel has no seccomp filters to forbid system calls with: boot one that was built with CONFIG_SECCOMP_FILTER")
	}
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
		if !has(root, "proc/thread-self/ns/"+ns) {
			f.add(true, "the kernel has no %s namespaces: boot one that was built with CONFIG_NAMESPACES and all below it", ns)
		}
	}
}

// older reports whether a release is older than a version. A release that can't
// be read is not.
func older(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b, _, _ := strings.Cut(rest, ".")
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(strings.TrimRight(b, "-+abcdefghijklmnopqrstuvwxyz"))
	return err1 == nil && err2 == nil && (x < major || x == major && y < minor)
}

// checkCgroups finds the hierarchies and what is wrong with them.
func (f *Facts) checkCgroups(root fs.FS, bare error) {
	b, _ := fs.ReadFile(root, "proc/thread-self/mountinfo")
	one, two := false, ""
	all := mountinfo.Parse(b)
	var used []mountinfo.Mount
	for _, m := range all {
		switch {
		case !mountinfo.Below(m.At, cgroup.Root) || mountinfo.Hidden(m, all):
		case m.Kind == "cgroup":
			names := slices.DeleteFunc(strings.Split(m.Options, ","), notController)
			one = one || len(names) > 0
			f.Controllers = append(f.Controllers, names...)
			used = append(used, m)
		case m.Kind == "cgroup2":
			two = m.At
			used = append(used, m)
		}
	}
	switch {
	case one && two != "":
		f.Cgroup = Hybrid
	case one:
		f.Cgroup = V1
	case two == cgroup.Root:
		f.Cgroup = V2
	}
	if bare != nil {
		f.Controllers = nil
		what, command, _ := strings.Cut(bare.Error(), ": ")
		what = strings.TrimSuffix(what, " ("+errdefs.ErrUnavailable.Error()+")")
		f.add(false, "%s, so containers have no limits, not even of processes, no Stats, no Pause, and nothing is known of kills for want of memory: %s", what, command)
		return
	}
	if f.Cgroup == "" {
		f.add(true, "no cgroups are mounted, which bound what containers use: mount -t cgroup2 cgroup2 %s", cgroup.Root)
		return
	}
	for _, m := range used {
		f.checkWritable(m)
	}
	if f.Cgroup == V2 {
		f.checkUnified(root)
	}
	slices.Sort(f.Controllers)
	f.Controllers = slices.Compact(f.Controllers)
	f.checkControllers()
}

// notController tells options of a hierarchy's mount from its controllers.
func notController(option string) bool {
	return option == "rw" || option == "ro" || option == "xattr" || option == "clone_children" || option == "noprefix" ||
		strings.Contains(option, "=") || strings.HasPrefix(option, "cpuset_")
}

func (f *Facts) checkWritable(m mountinfo.Mount) {
	if slices.Contains(strings.Split(m.Flags, ","), "ro") {
		f.add(true, "cgroups can't be made in %s, which is mounted read-only: mount -o remount,rw %s", m.At, m.At)
	}
}

// checkUnified looks at version 2's one hierarchy. Below a cgroup that is not
// the host's root, as containers have it, controllers work only if the cgroup
// itself holds no process, cgroups(7).
func (f *Facts) checkUnified(root fs.FS) {
	at := func(name string) string { return path.Join(cgroup.Root[1:], name) }
	f.Controllers = words(root, at("cgroup.controllers"))
	enabled := words(root, at("cgroup.subtree_control"))
	withheld := slices.ContainsFunc(f.Controllers, func(c string) bool { return !slices.Contains(enabled, c) })
	f.boxed = has(root, at("cgroup.type"))
	if f.boxed && withheld && len(words(root, at("cgroup.procs"))) > 0 {
		f.add(true, "processes are in %s itself, this container's own cgroup, so that it can't bound any below it: "+
			"mkdir -p %[1]s/init && xargs -rn1 <%[1]s/cgroup.procs >%[1]s/init/cgroup.procs", cgroup.Root)
	}
}

// needed are the controllers behind the limits and the walls.
var needed = []struct {
	name, without string
	fatal         bool
	one           bool // version 2 does without
}{
	{"pids", "the number of processes can't be bounded", true, false},
	{"memory", "memory can't be bounded", false, false},
	{"cpu", "CPU time can't be bounded", false, false},
	{"devices", "devices can't be forbidden", true, true},
	{"freezer", "containers can't be paused", false, true},
}

func (f *Facts) checkControllers() {
	for _, n := range needed {
		if slices.Contains(f.Controllers, n.name) || n.one && f.Cgroup == V2 {
			continue
		}
		cure := "boot with cgroup_enable=" + n.name
		switch {
		case f.Cgroup != V2:
			cure = fmt.Sprintf("mkdir -p %s/%[2]s && mount -t cgroup -o %[2]s cgroup %[1]s/%[2]s", cgroup.Root, n.name)
		case f.boxed:
			cure = fmt.Sprintf("on the host, in the cgroup above this container's: echo +%s >cgroup.subtree_control", n.name)
		}
		f.add(n.fatal && f.Users.Host(), "there is no cgroup controller %s, so %s: %s", n.name, n.without, cure)
	}
}
