package tasktest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/cgroups/v3"
	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
)

const askOpenFiles = "ulimit -Sn; ulimit -Hn"

// ownOpenFiles asks a child of this process for its limits of open files. It is
// asked first before there are services, which reap children.
var ownOpenFiles = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("/bin/sh", "-c", askOpenFiles).Output()
	return string(out), err
})

// control reads one of a container's cgroup files: version 1's name, or 2's.
func (x *box) control(controller, one, two string) string {
	x.Helper()
	path := filepath.Join("/sys/fs/cgroup", controller, x.cgroup, x.id, one)
	if cgroups.Mode() == cgroups.Unified {
		path = filepath.Join("/sys/fs/cgroup", x.cgroup, x.id, two)
	}
	b, err := os.ReadFile(path)
	require.NoError(x, err)
	return strings.TrimSpace(string(b))
}

func (x *box) tryUpdate(r specs.LinuxResources) error {
	x.Helper()
	j, err := json.Marshal(r)
	require.NoError(x, err)
	_, err = x.svc.Update(x.ctx, &taskapi.UpdateTaskRequest{ID: x.id, Resources: &anypb.Any{Value: j}})
	return errgrpc.ToNative(err)
}

func processes(limit int64) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit} }
}

var limits = map[string]func(*bed){
	"update": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: limited(64 << 20)})
		require.Equal(b, "67108864", x.control("memory", "memory.limit_in_bytes", "memory.max"))
		require.Equal(b, "512", x.control("pids", "pids.max", "pids.max"))
		limit, pids := int64(96<<20), int64(77)
		require.NoError(b, x.tryUpdate(specs.LinuxResources{Memory: memory(limit), Pids: &specs.LinuxPids{Limit: &pids}}))
		require.Equal(b, "100663296", x.control("memory", "memory.limit_in_bytes", "memory.max"))
		require.Equal(b, "77", x.control("pids", "pids.max", "pids.max"))
		_, err := b.svc.Update(b.ctx, &taskapi.UpdateTaskRequest{ID: x.id, Resources: &anypb.Any{Value: []byte("{")}})
		require.Error(b, err)
		x.end()
	},
	"pids": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "sleep 1000 & echo up; wait"}})
		x.says("up")
		e := x.add(setup{args: []string{"sleep", "1000"}, id: "named"})
		e.start()
		b.soon("three processes", func() bool { return len(x.pids()) == 3 })
		named := 0
		for _, p := range x.pids() {
			if p.Info == nil {
				continue
			}
			named++
			var d options.ProcessDetails
			require.NoError(b, typeurl.UnmarshalTo(p.Info, &d))
			require.Equal(b, "named", d.ExecID)
			require.Equal(b, e.state().Pid, p.Pid)
		}
		require.Equal(b, 1, named)
		x.end()
		e.pipes.close()
	},
	// Until it executes the command, a process has threads of the executor.
	"the least of processes": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: processes(1)})
		for range often(20) {
			status, out := x.run(setup{args: []string{"true"}})
			require.Zero(b, status)
			require.Empty(b, out)
		}
		require.Equal(b, "1", x.control("pids", "pids.max", "pids.max"))
		e := x.add(setup{args: []string{"sh", "-c", "read x; true & wait; true"}, stdin: true})
		e.start()
		_, err := e.in.Write([]byte("\n"))
		require.NoError(b, err)
		require.NotZero(b, e.wait(), "the limit is the command's")
		require.Contains(b, e.output(), "fork")
		e.delete()
		x.end()
	},
	"open files": func(b *bed) {
		own, err := ownOpenFiles()
		require.NoError(b, err)
		require.NotEqual(b, strings.Fields(own)[0], strings.Fields(own)[1], "Main sees to it")
		unset := func(s *specs.Spec) { s.Process.Rlimits = nil }
		_, out := b.run(setup{args: []string{"sh", "-c", askOpenFiles}, edit: unset})
		require.Equal(b, own, out)
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: unset})
		asked := func(p func(*specs.Process)) string {
			// Later than its first millisecond, in which runc 1.1 may be late.
			e := x.add(setup{args: []string{"sh", "-c", "read x; " + askOpenFiles}, stdin: true, proc: p})
			e.start()
			_, err := e.in.Write([]byte("\n"))
			require.NoError(b, err)
			require.Zero(b, e.wait())
			defer e.delete()
			return e.output()
		}
		require.Equal(b, own, asked(nil))
		require.Equal(b, "100\n200\n", asked(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}
		}))
		x.end()
	},
	"statistics": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo up; exec sleep 1000"}})
		x.says("up") // before, the runtime's own threads are counted
		r, err := b.svc.Stats(b.ctx, &taskapi.StatsRequest{ID: x.id})
		require.NoError(b, err)
		m, err := typeurl.UnmarshalAny(r.Stats)
		require.NoError(b, err)
		switch m := m.(type) {
		case *v1.Metrics:
			require.EqualValues(b, 1, m.Pids.Current)
			require.EqualValues(b, 512, m.Pids.Limit)
			require.NotZero(b, m.Memory.Usage.Usage)
			require.NotZero(b, m.CPU.Usage.Total)
		case *v2.Metrics:
			require.EqualValues(b, 1, m.Pids.Current)
			require.NotZero(b, m.Memory.Usage)
		default:
			b.Fatalf("%T", m)
		}
		x.end()
	},
}
