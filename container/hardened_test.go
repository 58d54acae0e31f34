package container_test

import (
	"context"
	"github.com/ctorhq/ctor/internal/fixture"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/volume"
)

func owner(st os.FileInfo) uint32 { return st.Sys().(*syscall.Stat_t).Uid }

func removeVolume(t *testing.T, name string) {
	ctx := context.WithoutCancel(t.Context()) // it is called as a clean-up
	v, err := volume.Get(ctx, containertest.Engine(t), name)
	if err == nil {
		err = v.Remove(ctx)
	}
	require.NoError(t, err)
}

// attempts are what a program that means harm tries first, as shell commands that
// succeed where the wall has a hole.
var attempts = map[string]string{
	"write to the root":           "echo x >/x",
	"write to /etc":               "echo x >>/etc/passwd",
	"write to the hosts file":     "echo x >>/etc/hosts",
	"execute from /tmp":           "cp /bin/busybox /tmp/b && /tmp/b true",
	"execute from /dev/shm":       "cp /bin/busybox /dev/shm/b && /dev/shm/b true",
	"fill /tmp":                   "dd if=/dev/zero of=/tmp/full bs=1M count=65; is=$?; rm /tmp/full; exit $is",
	"become another user":         "su app -c true",
	"give a file away":            "touch /tmp/y && chown 1:1 /tmp/y",
	"make a set-uid program":      "cp /bin/busybox /tmp/s && chmod 4755 /tmp/s && /tmp/s id",
	"make a device":               "mknod /tmp/d b 8 0",
	"open the disk":               "cat /dev/vda || cat /dev/sda",
	"read the kernel's log":       "dmesg",
	"read kernel memory":          "[ -s /proc/kcore ]",
	"read keys":                   "[ -s /proc/keys ]",
	"mount a tmpfs":               "mount -t tmpfs none /tmp",
	"mount procfs anew":           "mkdir /tmp/p && mount -t proc none /tmp/p",
	"mount cgroups":               "mkdir /tmp/c && mount -t cgroup -o memory none /tmp/c || mount -t cgroup2 none /tmp/c",
	"bind over a mask":            "mount --bind /tmp /proc/keys",
	"take a mask away":            "umount /proc/keys",
	"make the root writable":      "mount -o remount,rw /",
	"make /sys writable":          "mount -o remount,rw /sys",
	"make a mount namespace":      "unshare -m true",
	"make a user namespace":       "unshare -r true",
	"make a network namespace":    "unshare -n true",
	"enter its own namespaces":    "nsenter -t 1 -m true",
	"change root":                 "chroot /tmp true",
	"pivot":                       "mkdir -p /tmp/o && pivot_root /tmp /tmp/o",
	"set the clock":               "date -s 2000-01-01 >/dev/null; [ $(date +%Y) = 2000 ]",
	"set the host's name":         "hostname other",
	"change a sysctl":             "echo 1 >/proc/sys/kernel/core_pattern",
	"change a network sysctl":     "echo 1 >/proc/sys/net/ipv4/ip_forward",
	"ask for sysrq":               "echo h >/proc/sysrq-trigger",
	"leave its cgroup":            "echo $$ >/sys/fs/cgroup/pids/cgroup.procs || echo $$ >/sys/fs/cgroup/cgroup.procs",
	"lift its limit":              "echo max >/sys/fs/cgroup/pids/pids.max || echo max >/sys/fs/cgroup/pids.max",
	"set a release agent":         "echo /x >/sys/fs/cgroup/memory/release_agent",
	"load a module":               "echo x >/tmp/x.ko && insmod /tmp/x.ko",
	"reboot":                      "reboot -f",
	"swap off":                    "echo x >/tmp/swap; swapoff /tmp/swap",
	"be spared by the OOM killer": "echo -900 >/proc/self/oom_score_adj",
	"add a link":                  "ip link add d type dummy",
	"add an address":              "ip addr add 10.9.9.9/8 dev lo",
	"send raw packets":            "ping -c 1 -W 1 192.0.2.1",
	"reach the outside":           "wget -T 1 -q -O - http://192.0.2.1/",
	"reach the host's loopback":   "nc -w 1 127.0.0.1 22",
	"listen for the host":         "cat /proc/net/unix | grep -v Num | grep @",
	"raise a resource limit":      "ulimit -Hn $(($(ulimit -Hn)+1))",
	"look at other processes":     "ls /proc | grep -E '^[0-9]{4,}$'",
	"trace the first process":     "cat /proc/1/mem || cat /proc/1/environ | grep -q NOTHING",
	"see the host's files":        "ls /proc/1/root/work || ls /proc/1/cwd/../../../work",
	"write a core pattern":        "echo '|/tmp/x' >/proc/sys/kernel/core_pattern",
	"register a format":           "echo ':x:M::MZ::/bin/sh:' >/proc/sys/fs/binfmt_misc/register",
	"read firmware":               "ls /sys/firmware | grep .",
	"open a tun":                  "mknod /tmp/tun c 10 200 && cat /tmp/tun",
}

// A hardened container can do nothing of what a program that means harm would.
func TestHardened(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := secured("echo ready; sleep 1000", container.Hardened())
	cfg.Limits = container.Limits{Pids: 64, Memory: 128 << 20}
	c := start(t, busybox(t), cfg)
	for name, script := range attempts {
		out, err := c.Command(t.Context(), "sh", "-c", script).CombinedOutput()
		assert.Error(t, err, "%s: %s\n%s", name, script, out)
		// What is not there can't be tried: it would pass for a wall.
		assert.NotRegexp(t, `applet not found|: not found|invalid option|unrecognized|Usage:`, string(out), name)
	}
	out, err := c.Command(t.Context(), "sh", "-c", "grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; echo x >/tmp/x && cat /tmp/x; id -u; ls -l /proc/self/ns/user").Output()
	require.NoError(t, err)
	for _, line := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "x\n0\n"} {
		require.Contains(t, string(out), line)
	}
	require.NotContains(t, string(out), readlink(t, "/proc/self/ns/user"))
	require.Equal(t, container.Running, info(t, c).State)
}

// What it may do all the same is bounded: forks, memory, files, output.
func TestHardenedNuisances(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := secured("", container.Hardened())
	cfg.Limits = container.Limits{Pids: 16, Memory: 32 << 20, CPUs: 0.5, Ulimits: map[string]container.Ulimit{"nofile": {Soft: 64}, "core": {}}}
	for name, script := range map[string]string{
		"forks":       "f() { f | f & }; f; i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; exit 1",
		"memory":      "x=0123456789abcdef; while true; do x=$x$x; done",
		"descriptors": "for i in $(seq 10 80); do eval \"exec $i</dev/null\" || exit 3; done",
	} {
		cfg.Args[2] = script
		_, _, err := output(t, busybox(t), cfg)
		require.Error(t, err, name)
	}
	cfg.Args[2] = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo calm"
	require.Equal(t, "calm\n", stdout(t, busybox(t), cfg), "others are not hindered")
}
