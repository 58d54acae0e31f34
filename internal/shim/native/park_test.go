package native_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

// parking parks each container, as one with another command, and then gives it its own.
type parking struct {
	*native.Executor
	fallback task.Executor
}

func (p parking) Create(ctx context.Context, b task.Bundle, stdio task.Stdio) (task.Container, task.Process, error) {
	process, name := b.Spec.Process, b.Spec.Hostname
	if native.Beyond(b) != "" {
		return p.fallback.Create(ctx, b, stdio)
	}
	spec := *b.Spec
	spec.Process = &specs.Process{Args: []string{"none"}, Cwd: "/"}
	if name != "" {
		spec.Hostname = "parked"
	}
	b.Spec = &spec
	c, first, err := p.Park(ctx, b)
	if errdefs.IsNotImplemented(err) {
		b.Spec.Process = process
		return p.fallback.Create(ctx, b, stdio)
	}
	if err != nil {
		return nil, first, err
	}
	first.Console, err = c.Give(ctx, name, process, stdio)
	if err != nil {
		_ = unix.Kill(first.Pid, unix.SIGKILL)
		for {
			if _, werr := unix.Wait4(first.Pid, nil, 0, nil); werr != unix.EINTR {
				break
			}
		}
		return nil, task.Process{}, errors.Join(err, c.Delete(context.Background()))
	}
	return c, first, nil
}

// What a container sees that was parked is what any sees.
func TestParkedSame(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	tasktest.Same(t, own, func(t *testing.T) task.Executor {
		e := native.New(nobody{t}, nil)
		t.Cleanup(e.Close)
		return parking{e, nobody{t}}
	})
}

// A parked container can't be started, and has one command.
func TestPark(t *testing.T) {
	d := newDriver(t)
	parker := d.exec.(task.Parker)
	park := func(args ...string) (task.Parked, task.Process, *specs.Spec) {
		s := d.spec(args...)
		c, p, err := parker.Park(t.Context(), task.Bundle{ID: s.Linux.CgroupsPath[len(d.cgroup)+1:], Namespace: "test", Dir: d.dir, Rootfs: d.rootfs, Spec: s})
		require.NoError(t, err)
		return c, p, s
	}
	c, p, s := park("none")
	require.ErrorIs(t, c.Start(t.Context()), errdefs.ErrFailedPrecondition)
	require.Error(t, c.Delete(t.Context()), "it lives")

	// It holds what it needs, and nothing of the host's: its end of the conversation,
	// its own root and its own procfs, beside a /dev/null that nobody can open.
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(p.Pid) + "/fd")
	require.NoError(t, err)
	var held []string
	for _, f := range fds {
		to, _ := os.Readlink("/proc/" + strconv.Itoa(p.Pid) + "/fd/" + f.Name())
		held = append(held, to)
	}
	require.LessOrEqual(t, len(held), 11, "%v", held)

	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	s.Process.Args, s.Process.Env = []string{"sh", "-c", "echo $X; ls /proc/self/fd | wc -l"}, []string{"PATH=/bin", "X=given"}
	_, err = c.Give(t.Context(), "", s.Process, task.Stdio{Out: w, Err: w})
	w.Close()
	require.NoError(t, err)
	_, err = c.Give(t.Context(), "", s.Process, task.Stdio{})
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
	require.NoError(t, c.Start(t.Context()))
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "given\n4\n", string(out))
	reap(t, p.Pid)
	require.NoError(t, c.Delete(context.Background()))

	// A command that is not there ends it.
	c, p, s = park("none")
	s.Process.Args = []string{"nothing-such"}
	_, err = c.Give(t.Context(), "", s.Process, task.Stdio{})
	require.ErrorIs(t, err, exec.ErrNotFound)
	reap(t, p.Pid)
	require.NoError(t, c.Delete(context.Background()))

	// So does its death.
	c, p, s = park("none")
	require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
	_, err = c.Give(t.Context(), "", s.Process, task.Stdio{})
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
	reap(t, p.Pid)
	require.NoError(t, c.Delete(context.Background()))

	// What another executor would make is not parked.
	s = d.spec("true")
	s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/bin/true"}}}
	_, _, err = parker.Park(t.Context(), task.Bundle{ID: "x", Dir: d.dir, Rootfs: d.rootfs, Spec: s})
	require.ErrorIs(t, err, errdefs.ErrNotImplemented)
}
