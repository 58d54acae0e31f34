package libcontainer

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/task"
)

func TestExec(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("e")
	p := d.process("sh", "-c", "id -u; id -g; id -G; pwd; echo $WORD; ulimit -n; grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status; exit 7")
	p.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}
	p.Cwd = "/tmp"
	p.Env = append(p.Env, "WORD=word")
	p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 512, Hard: 512}}
	out, code := d.run(c, p)
	require.Equal(t, "1000\n1001\n1001 1002\n/tmp\nword\n512\nNoNewPrivs:\t1\nCapEff:\t0000000000000000\n", out)
	require.Equal(t, 7, code)

	p = d.process("grep", "CapEff", "/proc/self/status")
	p.Capabilities = &specs.LinuxCapabilities{}
	out, _ = d.run(c, p)
	require.Equal(t, "CapEff:\t0000000000000000\n", out)
}

func TestExecFails(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("e")
	try := func(p *specs.Process) error {
		before := len(offspring())
		err := second(c.Exec(t.Context(), "e", p, task.Stdio{}))
		require.Len(t, offspring(), before)
		return err
	}
	require.ErrorIs(t, try(d.process("nosuch")), exec.ErrNotFound)
	require.ErrorIs(t, try(d.process("/bin/nosuch")), exec.ErrNotFound)
	require.ErrorIs(t, try(d.process("/etc/noexec")), fs.ErrPermission)
	p := d.process("true")
	p.Cwd = "/nosuch"
	require.ErrorContains(t, try(p), "/nosuch")
	_, code := d.run(c, d.process("true"))
	require.Zero(t, code)
}

func TestExecTerminal(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("e")
	p := d.process("sh", "-c", "stty size; exit 4")
	p.Terminal = true
	p.ConsoleSize = &specs.Box{Width: 90, Height: 30}
	started, err := c.Exec(t.Context(), "e", p, task.Stdio{Terminal: true})
	require.NoError(t, err)
	defer started.Console.Close()
	out, _ := io.ReadAll(started.Console)
	require.Equal(t, "30 90\r\n", string(out))
	require.Equal(t, 4, wait(t, started.Pid))
}

func TestPause(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("p")
	require.ErrorIs(t, c.Resume(t.Context()), errdefs.ErrFailedPrecondition)
	require.NoError(t, c.Pause(t.Context()))
	require.ErrorIs(t, second(c.Exec(t.Context(), "e", d.process("true"), task.Stdio{})), errdefs.ErrFailedPrecondition)
	require.ErrorIs(t, c.Delete(t.Context()), errdefs.ErrFailedPrecondition)
	require.NoError(t, c.Resume(t.Context()))
	_, code := d.run(c, d.process("true"))
	require.Zero(t, code)
}

func TestUpdate(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("u")
	read := func(v1, v2 string) string {
		for _, path := range []string{"/sys/fs/cgroup/" + strings.SplitN(v1, ".", 2)[0] + d.cgroup + "/u/" + v1, "/sys/fs/cgroup" + d.cgroup + "/u/" + v2} {
			if b, err := os.ReadFile(path); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
		t.Fatal(v1)
		return ""
	}
	require.NoError(t, c.Update(t.Context(), &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))},
	}))
	require.Equal(t, "67108864", read("memory.limit_in_bytes", "memory.max"))
	require.Equal(t, "100", read("pids.max", "pids.max"), "what was not named stays")
	require.NoError(t, c.Update(t.Context(), &specs.LinuxResources{
		Pids: &specs.LinuxPids{Limit: new(int64(50))},
		CPU:  &specs.LinuxCPU{Shares: new(uint64(512))},
	}))
	require.Equal(t, "50", read("pids.max", "pids.max"))
	require.Equal(t, "67108864", read("memory.limit_in_bytes", "memory.max"))
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		require.Equal(t, "512", read("cpu.shares", ""))
	}
	_, code := d.run(c, d.process("true"))
	require.Zero(t, code)
}
