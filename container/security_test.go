package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/host"
)

func itoa(n int) string { return strconv.Itoa(n) }

func readlink(t *testing.T, path string) string {
	t.Helper()
	s, err := os.Readlink(path)
	require.NoError(t, err)
	return s
}

// What nobody asked for must be there: Docker's walls, or higher ones.
func TestSecurityDefaults(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	img := busybox(t)
	status := map[string]string{}
	for line := range strings.Lines(stdout(t, img, sh("cat /proc/1/status"))) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	require.Equal(t, "2", status["Seccomp"])
	require.Equal(t, "1", status["NoNewPrivs"])
	require.Equal(t, "00000000a80425fb", status["CapEff"])
	require.Equal(t, "00000000a80425fb", status["CapBnd"])
	require.Equal(t, "0000000000000000", status["CapInh"])
	require.Equal(t, "0000000000000000", status["CapAmb"])

	cfg := sh("cat /proc/1/status")
	cfg.User = "app"
	require.Contains(t, stdout(t, img, cfg), "CapEff:\t0000000000000000\n")
}

// Where the kernel has AppArmor on, the first process and commands have a profile
// as Docker's, and Info says which; otherwise it says that there is none.
func TestAppArmor(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	cfg := sh("sleep 1000")
	c := containertest.Run(t, busybox(t), cfg)
	out, err := c.Command(t.Context(), "cat", "/proc/1/attr/current", "/proc/self/attr/current").Output()
	if !host.AppArmor() {
		require.Empty(t, i.AppArmor)
		require.NotContains(t, string(out), "(enforce)")
		return
	}
	require.NoError(t, err)
	require.Equal(t, "ctor-default", i.AppArmor)
	require.Equal(t, "ctor-default (enforce)\nctor-default (enforce)\n", string(out))
}

func TestMaskedPaths(t *testing.T) {
	t.Parallel()
	out, _, _ := output(t, busybox(t), sh(`
for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/interrupts; do
	if [ -e $f ]; then echo "$f $(head -c 10 $f | wc -c)"; fi
done
for d in /sys/firmware /proc/acpi /proc/scsi; do if [ -e $d ]; then echo "$d $(ls $d | wc -l)"; fi; done
for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x; do
	if (echo 1 > $f) 2>/dev/null; then echo "$f written"; fi
done
if mount -t tmpfs none /tmp; then echo mounted; fi
if chmod u+s /bin/busybox && mount --bind / /tmp; then echo bound; fi
`))
	require.Contains(t, out, "/proc/keys 0\n")
	for line := range strings.Lines(out) {
		require.Regexp(t, ` 0\n$`, line)
	}
}

// Namespaces of its own, and a network with nothing but a loopback.
func TestIsolation(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	out := stdout(t, img, sh("ls -l /proc/self/ns | grep -o '[a-z]*:\\[[0-9]*\\]'"))
	host := func(kind string) string { return readlink(t, "/proc/self/ns/"+kind) }
	for _, kind := range []string{"net", "pid", "mnt", "uts", "ipc", "cgroup"} {
		require.Contains(t, out, kind+":[")
		require.NotContains(t, out, host(kind))
	}
	require.Equal(t, "1\n", stdout(t, img, sh("echo $$")))
	require.Equal(t, "lo\n", stdout(t, img, sh("ls /sys/class/net")))
	require.Equal(t, "0x9\n", stdout(t, img, sh("cat /sys/class/net/lo/flags")), "it is up")
}
