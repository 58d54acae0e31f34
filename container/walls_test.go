package container_test

import (
	"fmt"
	"github.com/ctorhq/ctor/internal/fixture"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// secured is a Config that runs a script behind changed walls.
func secured(script string, s container.Security) container.Config {
	cfg := sh(script)
	cfg.Security = s
	return cfg
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	has := func(s container.Security) string {
		t.Helper()
		return strings.TrimSpace(stdout(t, img, secured("grep CapBnd /proc/self/status | cut -f 2; cat /proc/self/status | grep CapEff | cut -f 2", s)))
	}
	same := func(bits string) string { return bits + "\n" + bits }
	require.Equal(t, same("00000000a80435fb"), has(container.Security{CapAdd: []string{"net_admin"}}))
	require.Equal(t, same("00000000a80425fa"), has(container.Security{CapDrop: []string{"CAP_CHOWN"}}))
	require.Equal(t, same("0000000000000000"), has(container.Security{CapDrop: []string{"ALL"}}))
	require.Equal(t, same("0000000000000400"), has(container.Security{CapDrop: []string{"all"}, CapAdd: []string{"NET_BIND_SERVICE"}}))
	own := ""
	for line := range strings.Lines(read(t, "/proc/self/status")) {
		if bits, ok := strings.CutPrefix(line, "CapBnd:\t"); ok {
			own = strings.TrimSpace(bits)
		}
	}
	require.Equal(t, same(own), has(container.Security{CapAdd: []string{"ALL"}}))
	require.Equal(t, same(own), has(container.Security{Privileged: true}))

	_, err := img.New(t.Context(), secured("true", container.Security{CapAdd: []string{"FLY"}}))
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, `unknown capability "FLY"`)
}

func TestReadOnlyRoot(t *testing.T) {
	t.Parallel()
	script := `for f in /x /etc/x /tmp/x /data/x /dev/shm/x; do (echo x >$f) 2>/dev/null && echo $f; done; true`
	cfg := secured(script, container.Security{ReadOnly: true})
	cfg.Mounts = []container.Mount{{Type: container.Volume, Target: "/data"}}
	require.Equal(t, "/data/x\n/dev/shm/x\n", stdout(t, busybox(t), cfg))
	cfg.Security.Tmp = 1 << 20
	require.Equal(t, "/tmp/x\n/data/x\n/dev/shm/x\n", stdout(t, busybox(t), cfg))
	cfg.Args[2] = "df -k /tmp | tail -1 | awk '{print $2}'"
	require.Equal(t, "1024\n", stdout(t, busybox(t), cfg))
	cfg.Mounts = []container.Mount{{Type: container.Tmpfs, Target: "/tmp", Size: 2 << 20}}
	require.Equal(t, "2048\n", stdout(t, busybox(t), cfg))
}

func TestPrivileged(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	out := stdout(t, busybox(t), secured(`
grep -E 'Seccomp:|NoNewPrivs' /proc/self/status
mount -t tmpfs none /tmp && echo mounted
[ -w /proc/sys/kernel/hostname ] && echo sysctl
head -c 1 /proc/interrupts | wc -c
mkdir /sys/fs/cgroup/pids/x 2>/dev/null || mkdir /sys/fs/cgroup/x; echo cgroup $?
rmdir /sys/fs/cgroup/pids/x 2>/dev/null || rmdir /sys/fs/cgroup/x
[ -e /dev/mem ] || [ -e /dev/kmsg ] && echo devices`, container.Security{Privileged: true}))
	require.Equal(t, "NoNewPrivs:\t0\nSeccomp:\t0\nmounted\nsysctl\n1\ncgroup 0\ndevices\n", out)
	_, err := busybox(t).New(t.Context(), secured("true", container.Security{Privileged: true, UserNS: true}))
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

func TestMaskAndUnmask(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	script := "head -c 1 /proc/interrupts | wc -c; ls /etc/ssl 2>/dev/null | wc -l; head -c 1 /etc/passwd | wc -c; [ -w /proc/sys/kernel/hostname ] && (echo box >/proc/sys/kernel/hostname) 2>/dev/null && hostname"
	require.Equal(t, "1\n0\n0\nbox\n", stdout(t, busybox(t), secured(script, container.Security{
		Unmask: []string{"/proc/interrupts", "/proc/sys"}, Mask: []string{"/etc/passwd"},
	})))
	_, err := busybox(t).New(t.Context(), secured("true", container.Security{Mask: []string{"relative"}}))
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

func TestSeccompProfile(t *testing.T) {
	t.Parallel()
	profile := `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
		"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "includes": {"caps": ["CAP_CHOWN"]}},
			{"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}]}`
	script := "mkdir /x; ln -s a /y && echo linked; true"
	s := container.Security{Seccomp: []byte(profile)}
	out, eout, err := output(t, busybox(t), secured(script, s))
	require.NoError(t, err)
	require.Contains(t, eout, "Function not implemented")
	require.Equal(t, "linked\n", out)
	s.CapDrop = []string{"CHOWN"}
	out, eout, err = output(t, busybox(t), secured(script, s))
	require.NoError(t, err)
	require.Contains(t, eout, "Operation not permitted")
	require.Empty(t, out)

	for name, bad := range map[string]string{
		"no JSON":       `{"defaultAction": `,
		"empty":         `{}`,
		"no action":     `{"defaultAction": "SCMP_ACT_MAYBE"}`,
		"no operator":   `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_XX"}]}]}`,
		"name twice":    `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ERRNO"}]}`,
		"architectures": `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}`,
		"other type":    `[]`,
	} {
		_, err := busybox(t).New(t.Context(), secured("true", container.Security{Seccomp: []byte(bad)}))
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
		require.ErrorContains(t, err, "seccomp profile", name)
	}
}

// A profile and a label are the host's: what it has none of is said.
func TestSecurityModules(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	for _, s := range []container.Security{{AppArmor: "no-such-profile"}, {SELinux: "system_u:system_r:container_t:s0"}} {
		if s.SELinux != "" && i.SELinux {
			continue
		}
		_, err := busybox(t).New(t.Context(), secured("true", s))
		if s.AppArmor != "" && i.AppArmor != "" {
			require.ErrorIs(t, err, ctor.ErrNotFound)
			continue
		}
		require.ErrorIs(t, err, ctor.ErrUnavailable)
	}
	_, err = busybox(t).New(t.Context(), secured("true", container.Security{SELinux: "nonsense"}))
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.Equal(t, "fine\n", stdout(t, busybox(t), secured("echo fine", container.Security{AppArmor: "unconfined"})))
}

// Each container has users of its own, its files are its own, and what it writes to a
// bind mount or a volume has the numbers that it would have without.
func TestUsersOfItsOwn(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "roots"), nil, 0o600))
	volume := "users-" + itoa(os.Getpid())
	cfg := secured(`
stat -c '%u %n' /etc/passwd /bind/roots /volume /etc/hosts /tmp /dev/shm /dev
echo x >/bind/new; echo x >/volume/new; echo x >/new; chown 7:7 /bind/new
cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null
ip link add dummy0 type dummy 2>/dev/null; hostname other && hostname
cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '
echo ready; sleep 1000`, container.Security{UserNS: true, CapAdd: []string{"SYS_ADMIN"}})
	cfg.Mounts = []container.Mount{
		{Source: dir, Target: "/bind"}, {Type: container.Volume, Source: volume, Target: "/volume"},
		{Type: container.Tmpfs, Target: "/tmp"},
	}
	t.Cleanup(func() { removeVolume(t, volume) })
	run := func() (first string) {
		t.Helper()
		c := start(t, busybox(t), cfg)
		defer c.Remove(t.Context())
		lines := strings.Split(strings.TrimSpace(string(logs(t, c))), "\n")
		require.Equal(t, "0 /etc/passwd,0 /bind/roots,0 /volume,0 /etc/hosts,0 /tmp,0 /dev/shm,0 /dev,4096,other", strings.Join(lines[:9], ","))
		require.Equal(t, lines[9], lines[10])
		first = strings.Fields(lines[9])[1]
		status := read(t, fmt.Sprintf("/proc/%d/status", info(t, c).Pid))
		require.Contains(t, status, "Uid:\t"+first)
		out, err := c.Command(t.Context(), "sh", "-c", "id -u; stat -c %u /proc/self/fd/1 /new; echo again >/dev/stdout").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, "0\n0\n0\nagain\n", string(out))
		_, err = c.FS().Stat("new")
		require.NoError(t, err)
		return first
	}
	first, second := run(), run()
	require.NotEqual(t, first, second)
	require.Greater(t, first, "1879048191")
	for name, uid := range map[string]uint32{"new": 7, "roots": 0} {
		st, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, uid, owner(st), name)
	}
}
