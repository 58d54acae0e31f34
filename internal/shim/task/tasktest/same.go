package tasktest

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/spec"
)

// look has a process tell all that it can of what it is, may, and sees. What is
// expected to differ between two runs is left out here or in alike; and the limit of
// open files, with which runc 1.1 may be late, and the mode of /sys/fs/cgroup itself.
const look = `
exec 2>&1
part() { echo "== $1"; }
keep='^(Uid|Gid|Groups|Umask|Threads|SigQ|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Speculation|Cpus_allowed|Mems_allowed|TracerPid|NStgid|NSpid|NSpgid|NSsid|Name|CoreDumping|THP)'
part status; grep -E "$keep" /proc/self/status | grep -v -E '^(Pid|NS|Name|SigQ)'
part first; grep -E "$keep" /proc/1/status | grep -v SigQ
part mounts; cat /proc/self/mountinfo
part cgroup; cat /proc/self/cgroup
part allowed; cat /sys/fs/cgroup/devices/devices.list
part bounds; for f in pids/pids.max memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems pids.max memory.max memory.swap.max memory.low cpu.weight cpu.max cpuset.cpus; do cat /sys/fs/cgroup/$f; done
part limits; cat /proc/1/limits /proc/self/limits | grep -v 'open files'
part descriptors; ls -l /proc/1/fd /proc/self/fd
part dev; ls -laR /dev
part namespaces; ls -l /proc/1/ns
part environment; env; pwd; umask; id; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname
part network; grep lo: /proc/net/dev | tr -d '0-9 '; grep lo /proc/net/route /proc/net/if_inet6; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/conf/lo/forwarding /proc/sys/kernel/shmmax
part odds; cd /proc/1; cat oom_score_adj comm personality coredump_filter timerslack_ns attr/current 2>&1; tr ' ' '\n' <stat | head -n 8 | tail -n 5
part masks; for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/acpi /proc/scsi /sys/firmware /proc/interrupts /sys/devices/virtual/powercap; do ls -ld $f; ls $f; head -c 20 $f; done 2>&1
part writes; for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity /proc/bus/x /sys/kernel/x /sys/fs/cgroup/x /dev/x /etc/x /tmp/x; do (echo x >$f) 2>&1; done
part root; ls -la / /etc /tmp 2>&1; ls -l /sys/fs/cgroup 2>&1
`

// alike takes out of what was seen what differs between any two containers.
func alike(text string) string {
	for _, r := range [][2]string{
		{`(?m)^\d+ \d+ \d+:\d+ `, ""},                               // mountinfo's numbers
		{`(?m) - cgroup \S+ `, " - cgroup cgroup "},                 // the source of version 1, a word without a meaning
		{`(shared|master|propagate_from):\d+ ?`, "$1 "},             // and those of peers
		{`:\[\d+\]`, ":[]"},                                         // inodes of namespaces and pipes
		{`ctor-tasktest-\d+-\d+/c\d+`, "CGROUP"},                    //
		{`\w{3} [ \d]\d [ \d]\d:\d\d|\w{3} [ \d]\d  \d{4}`, "DATE"}, // of files
		{`/proc/\d+/fd`, "/proc/PID/fd"},                            // what fd 3 of ls is
		{`l[r-][w-]x(.* -> /dev/null)`, "l--x$1"},                   // runc's is read-only, of an added process
		{`,size=4k,nr_inodes=1`, ""},                                // masks, which runc 1.1 does not bound
		{`tasktest-[a-z]*-?\d+`, "DIR"},                             // of the bed
		{`(?m)^(\S+) +\d+( \S+ +\S+) +\d+( DATE)`, "$1 N$2 SIZE$3"}, // of directories; /proc has a link for each process
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// parts are what was seen, by part. Of mounts the order does not count: none is on
// top of another that both executors have.
func parts(text string) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(alike(text), "== ") {
		name, rest, _ := strings.Cut(strings.ReplaceAll(part, "\r", ""), "\n")
		lines := strings.Split(strings.TrimSpace(rest), "\n")
		if name == "mounts" || name == "allowed" {
			sort.Strings(lines)
		}
		all[name] = strings.Join(lines, "\n")
	}
	return all
}

// variants are configurations that both executors are given, beside the one that an
// engine writes.
var variants = map[string]func(*specs.Spec){
	"plain":          func(*specs.Spec) {},
	"new privileges": func(s *specs.Spec) { s.Process.NoNewPrivileges = false },
	"a user": func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{1000, 2000}}
	},
	"a user, new privileges": func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		s.Process.NoNewPrivileges = false
	},
	"a writable root": func(s *specs.Spec) { s.Root.Readonly = false },
	"no capabilities": func(s *specs.Spec) { s.Process.Capabilities = nil },
	"ambient capabilities": func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		caps := []string{"CAP_NET_BIND_SERVICE", "CAP_CHOWN"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps[:1]}
	},
	"no filter": func(s *specs.Spec) { s.Linux.Seccomp = nil },
	"limits": func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE", Soft: 0, Hard: 0}}
		score := 500
		s.Process.OOMScoreAdj = &score
	},
	"resources": func(s *specs.Spec) {
		limit, reserved, quota, period, shares, pids := int64(64<<20), int64(32<<20), int64(50000), uint64(100000), uint64(512), int64(33)
		s.Linux.Resources.Memory = memory(limit)
		s.Linux.Resources.Memory.Reservation = &reserved
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: &shares, Quota: &quota, Period: &period, Cpus: "0", Mems: "0"}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
	},
	"names": func(s *specs.Spec) {
		s.Hostname, s.Domainname = "here", "there"
		s.Linux.Sysctl["kernel.shmmax"], s.Linux.Sysctl["net.ipv4.conf.lo.forwarding"] = "123456", "1"
	},
	"devices": func(s *specs.Spec) {
		id := uint32(1000)
		s.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, UID: &id, GID: &id},
			{Path: "/dev/below/fifo", Type: "p"}, {Path: "/dev/zero", Type: "c", Major: 1, Minor: 5, UID: &id},
		}
	},
	"the host's network": func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		s.Linux.Sysctl = nil
	},
	"the host's processes": hostPids,
	"mounts": func(s *specs.Spec) {
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/srv", Type: "bind", Source: "/usr/share", Options: []string{"rbind", "ro", "rprivate"}},
			specs.Mount{Destination: "/srv/doc", Type: "bind", Source: "/etc", Options: []string{"bind", "nosuid", "nodev", "noexec", "noatime"}},
			specs.Mount{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=0755", "strictatime", "size=64k"}},
			specs.Mount{Destination: "/etc/group", Type: "bind", Source: "/etc/hostname", Options: []string{"bind", "rslave", "rro"}},
		)
	},
	"modes of a tmpfs": func(s *specs.Spec) {
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/root", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "mode=0750", "ro", "nosuid"}},
			specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"},
		)
	},
}

// Same runs containers of the same configurations by two executors, and wants what
// they see to be the same. A runc before 1.2 has its own mind of the modes of a
// tmpfs, and does not know of domain names.
func Same(t *testing.T, reference, tested func(t *testing.T) task.Executor, except ...string) {
	for name, edit := range variants {
		t.Run(name, func(t *testing.T) {
			if slices.Contains(except, name) {
				t.Skip("the other executor is too old for it")
			}
			var seen [2]map[string]string
			for i, e := range []func(t *testing.T) task.Executor{reference, tested} {
				b := newBed(t, e(t))
				for who, text := range b.looks(edit) {
					for part, lines := range parts(text) {
						if seen[i] == nil {
							seen[i] = map[string]string{}
						}
						seen[i][who+": "+part] = lines
					}
				}
			}
			for part, want := range seen[0] {
				if diff := difference(want, seen[1][part]); diff != "" {
					t.Errorf("%s:\n%s", part, diff)
				}
			}
		})
	}
}

// difference lists the lines that only one of two texts has; "" is none.
func difference(want, got string) string {
	if want == got {
		return ""
	}
	var diff strings.Builder
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintf(&diff, "- %s\n", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&diff, "+ %s\n", line)
		}
	}
	if diff.Len() == 0 {
		return fmt.Sprintf("the lines are the same, their order or number is not:\n%s\n--\n%s", want, got)
	}
	return diff.String()
}

// looks gives what the processes of a container see: its first, one that was added,
// and both with a terminal.
func (b *bed) looks(edit func(*specs.Spec)) map[string]string {
	b.Helper()
	configured := func(s *specs.Spec) {
		args, id := s.Process.Args, strings.TrimPrefix(s.Linux.CgroupsPath, b.cgroup+"/")
		o := spec.Options{ID: id, Args: args, Cgroup: s.Linux.CgroupsPath, Hostname: "box", Files: b.dir, TTY: s.Process.Terminal}
		made, err := spec.New(b.ctx, v1.ImageConfig{Env: []string{"PATH=/bin"}}, o)
		require.NoError(b, err)
		require.NoError(b, spec.WriteNames(o))
		made.Root = s.Root
		edit(made)
		*s = *made
	}
	look, all := look, map[string]string{}
	if b.sharesPids(edit) { // 1 is the host's, and numbers are what they happen to be
		look = strings.ReplaceAll(look, "/proc/1", "/proc/self")
		look = "(" + strings.Replace(look, "exec 2>&1", "", 1) + ") 2>&1 | grep -v -E '^(NS[a-z]+:|[0-9]+$)'"
	}
	for _, tty := range []bool{false, true} {
		kind := fmt.Sprintf("terminal %v", tty)
		_, all[kind+", first"] = b.run(setup{args: []string{"sh", "-c", look}, edit: configured, tty: tty})
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: configured})
		_, all[kind+", added"] = x.run(setup{args: []string{"sh", "-c", look}, tty: tty})
		x.end()
	}
	return all
}

func (b *bed) sharesPids(edit func(*specs.Spec)) bool {
	s := b.spec("x", "true")
	if s.Linux.Sysctl == nil {
		s.Linux.Sysctl = map[string]string{}
	}
	edit(s)
	return !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
}
