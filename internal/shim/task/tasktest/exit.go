package tasktest

import (
	"bytes"
	"fmt"
	"os"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var exits = map[string]func(*bed){
	"codes": func(b *bed) {
		for _, code := range []int{0, 1, 42, 255} {
			status, _ := b.run(setup{args: []string{"sh", "-c", fmt.Sprint("exit ", code)}})
			require.EqualValues(b, code, status)
		}
	},
	"killed": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		require.NoError(b, x.tryKill(unix.SIGKILL, false))
		require.EqualValues(b, 137, x.wait())
		st := x.state()
		require.Equal(b, tasktypes.Status_STOPPED, st.Status)
		require.EqualValues(b, 137, st.ExitStatus)
		require.False(b, st.ExitedAt.AsTime().IsZero())
		status, err := x.tryDelete(b.ctx)
		require.NoError(b, err)
		require.EqualValues(b, 137, status)
	},
	// The first process of a pid namespace does not die of its own signals.
	"segfault": func(b *bed) {
		status, _ := b.run(setup{args: []string{"sh", "-c", "kill -SEGV $$"}, edit: hostPids})
		require.EqualValues(b, 139, status)
	},
	"terminated": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"}})
		x.says("ready")
		require.NoError(b, x.tryKill(unix.SIGTERM, false))
		require.EqualValues(b, 7, x.wait())
		x.delete()
	},
	"out of memory": func(b *bed) {
		x := b.start(setup{args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"}, edit: limited(32 << 20)})
		require.EqualValues(b, 137, x.wait())
		exit := fmt.Sprintf("exit %s 137", x.id)
		require.Equal(b, []string{"create", "start", "oom", exit}, b.until(x.id, exit))
		x.delete()
	},
	"out of memory in an exec": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}, edit: limited(32 << 20)})
		status, _ := x.run(setup{args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"}, id: "big"})
		require.EqualValues(b, 137, status)
		require.Contains(b, b.until(x.id, "exit big 137"), "oom")
		x.end()
	},
	// It is told when it happens, not at the next end of a process.
	"out of memory in a child": func(b *bed) {
		x := b.start(hungry(limited(32 << 20)))
		for i := range 2 {
			x.line("again")
			b.soon("told", func() bool { return x.ooms() == i+1 })
		}
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
		require.Equal(b, []string{"create", "start", "oom", "oom", "exit " + x.id + " 137", "delete"}, b.until(x.id, "delete"))
	},
	"out of memory in a child, limited later": func(b *bed) {
		x := b.start(hungry(nil))
		require.NoError(b, x.tryUpdate(specs.LinuxResources{Memory: memory(32 << 20)}))
		x.line("now")
		require.Equal(b, []string{"create", "start", "oom"}, b.until(x.id, "oom"))
		x.end()
	},
	"never started": func(b *bed) {
		x := b.create(setup{args: []string{"true"}})
		require.Equal(b, tasktypes.Status_CREATED, x.status())
		x.kill()
		require.EqualValues(b, 137, x.wait())
		require.Error(b, x.tryStart(b.ctx))
		x.delete()
	},
	"no streams": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo lost; cat; exit 5"}, mute: true})
		require.EqualValues(b, 5, x.wait())
		x.delete()
	},
}

// memory has no more swap than memory, where there is a limit of it: what is
// swapped is not killed.
func memory(limit int64) *specs.LinuxMemory {
	m := &specs.LinuxMemory{Limit: &limit}
	if swaps, _ := os.ReadFile("/proc/swaps"); bytes.Count(swaps, []byte("\n")) > 1 {
		m.Swap = &limit
	}
	return m
}

func limited(limit int64) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Resources.Memory = memory(limit) }
}

// hungry has a child that takes 128 MiB, one for each line that it reads.
func hungry(edit func(*specs.Spec)) setup {
	return setup{
		args:  []string{"sh", "-c", "echo up; while read line; do dd if=/dev/zero of=/dev/null bs=128M count=1; echo $?; done"},
		stdin: true, edit: edit,
	}
}

func (x *box) ooms() (n int) {
	x.told.mu.Lock()
	defer x.told.mu.Unlock()
	for _, text := range x.told.of[x.id] {
		if text == "oom" {
			n++
		}
	}
	return n
}
