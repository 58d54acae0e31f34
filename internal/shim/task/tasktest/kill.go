package tasktest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func (x *box) pause() {
	x.Helper()
	_, err := x.svc.Pause(x.ctx, &taskapi.PauseRequest{ID: x.id})
	require.NoError(x, err)
}

func (x *box) resume() {
	x.Helper()
	_, err := x.svc.Resume(x.ctx, &taskapi.ResumeRequest{ID: x.id})
	require.NoError(x, err)
}

// frozen tells whether the kernel has stopped all processes.
func (x *box) frozen() bool {
	x.Helper()
	v2, err := os.ReadFile("/sys/fs/cgroup" + x.cgroup + "/" + x.id + "/cgroup.events")
	if err == nil {
		return strings.Contains(string(v2), "frozen 1")
	}
	v1, err := os.ReadFile("/sys/fs/cgroup/freezer" + x.cgroup + "/" + x.id + "/freezer.state")
	require.NoError(x, err)
	return strings.Contains(string(v1), "FROZEN")
}

// freezeLast freezes the last process of a container behind the service's back.
func (x *box) freezeLast() {
	x.Helper()
	dir, name, word := "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"
	if cgroups.Mode() == cgroups.Unified {
		dir, name, word = "/sys/fs/cgroup", "cgroup.freeze", "1"
	}
	dir = filepath.Join(dir, x.cgroup, x.id, "part")
	require.NoError(x, os.Mkdir(dir, 0o755))
	pids := x.pids()
	require.NoError(x, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(pids[len(pids)-1].Pid)), 0))
	require.NoError(x, os.WriteFile(filepath.Join(dir, name), []byte(word), 0))
}

var kills = map[string]func(*bed){
	"after the exit": func(b *bed) {
		x := b.start(setup{args: []string{"true"}})
		x.wait()
		for _, all := range []bool{false, true} {
			require.ErrorIs(b, x.tryKill(unix.SIGKILL, all), errdefs.ErrNotFound)
			require.ErrorIs(b, x.tryKill(unix.SIGTERM, all), errdefs.ErrNotFound)
		}
		x.delete()
		require.ErrorIs(b, x.tryKill(unix.SIGKILL, true), errdefs.ErrNotFound)
	},
	"signal 0 and no signal": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		require.NoError(b, x.tryKill(0, false))
		require.ErrorIs(b, x.tryKill(12345, false), errdefs.ErrInvalidArgument)
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
	},
	"all, in the host's pid namespace": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "setsid sleep 1000 & sleep 1000 & echo up; wait"}, edit: hostPids})
		x.says("up")
		b.soon("three processes", func() bool { return len(x.pids()) == 3 })
		x.kill()
		require.EqualValues(b, 137, x.wait())
		require.Equal(b, "up\n", x.output())
		require.Empty(b, x.pids())
		x.delete()
	},
	"all, with a handler": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "trap 'exit 3' USR1; (trap 'echo child; exit' USR1; echo up; while :; do sleep 0.01; done) & wait; wait"}})
		x.says("up")
		require.NoError(b, x.tryKill(unix.SIGUSR1, true))
		require.EqualValues(b, 3, x.wait())
		x.delete()
	},
	// As who may write to its own cgroups can do.
	"frozen in part": func(b *bed) {
		for _, undo := range []bool{false, true} {
			x := b.start(setup{args: []string{"sh", "-c", "sleep 1000 & echo up; wait"}})
			x.says("up")
			x.freezeLast()
			if undo {
				b.undo()
				return
			}
			x.kill()
			require.EqualValues(b, 137, x.wait())
			x.delete()
		}
	},
	"paused": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "while :; do :; done & while :; do :; done"}})
		x.pause()
		require.True(b, x.frozen(), "not soon, but now")
		require.Equal(b, tasktypes.Status_PAUSED, x.status())
		x.kill()
		require.EqualValues(b, 137, x.wait())
		x.delete()
	},
	"paused, in the host's pid namespace": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "sleep 1000 & wait"}, edit: hostPids})
		x.pause()
		require.NoError(b, x.tryKill(unix.SIGKILL, false))
		require.EqualValues(b, 137, x.wait())
		x.delete()
	},
	"pause and resume": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo up; read line; echo $line"}, stdin: true})
		x.says("up")
		x.pause()
		_, err := b.svc.Pause(b.ctx, &taskapi.PauseRequest{ID: x.id})
		_ = err // runc and libcontainer differ on a second pause
		e := x.add(setup{args: []string{"true"}})
		require.Error(b, e.tryStart(b.ctx), "nothing starts in a paused container")
		e.delete()
		_, err = x.in.Write([]byte("word\n"))
		require.NoError(b, err)
		require.Equal(b, tasktypes.Status_PAUSED, x.status())
		require.NotContains(b, x.sofar(), "word")
		x.resume()
		require.Zero(b, x.wait())
		require.Equal(b, "up\nword\n", x.output())
		x.delete()
	},
	"pause what does not run": func(b *bed) {
		x := b.start(setup{args: []string{"true"}})
		x.wait()
		_, err := b.svc.Pause(b.ctx, &taskapi.PauseRequest{ID: x.id})
		require.Error(b, err)
		_, err = b.svc.Resume(b.ctx, &taskapi.ResumeRequest{ID: x.id})
		require.Error(b, err)
		x.delete()
	},
	"a process that forks": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "f() { sleep 0.01; f & }; f & f & f & f & f & f & f & f & echo up; sleep 1000"}, edit: func(s *specs.Spec) {
			hostPids(s)
			few := int64(50) // should the test itself be killed
			s.Linux.Resources.Pids.Limit = &few
		}})
		x.says("up")
		x.kill()
		require.EqualValues(b, 137, x.wait())
		require.Empty(b, x.pids())
		x.delete()
	},
	"signals reach the process as they are": func(b *bed) {
		_, out := b.run(setup{args: []string{"grep", "SigIgn", "/proc/self/status"}})
		// Signals 32 and 33 are the C library's own. Go leaves them as it found
		// them, and whatever started the test may ignore them.
		require.Regexp(b, `^SigIgn:\s0000000[0-3][08]0000000\n$`, out)
	},
}
