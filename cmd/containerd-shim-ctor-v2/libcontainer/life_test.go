package libcontainer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/task"
)

func TestExitCodes(t *testing.T) {
	d := newDriver(t)
	for script, want := range map[string]int{
		"exit 0":                         0,
		"exit 1":                         1,
		"exit 42":                        42,
		"sh -c 'kill -SEGV $$'; exit $?": 139,
		"exec sleep 0":                   0,
		"echo nobody reads; false":       1,
	} {
		_, code := d.life("codes", "sh", "-c", script)
		require.Equal(t, want, code, script)
	}
}

// A process that has begun and ended before Start looks was started.
func TestStartedAndEnded(t *testing.T) {
	defer func(d time.Duration) { glance = d }(glance)
	glance = 0
	d := newDriver(t)
	for range 50 {
		_, code := d.life("short", "true")
		require.Zero(t, code)
	}
}

func TestKilled(t *testing.T) {
	d := newDriver(t)
	c, p, err := d.exec.Create(t.Context(), d.bundle(d.spec("k", "sleep", "1000"), "k"), task.Stdio{})
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
	require.Equal(t, 137, wait(t, p.Pid))
	require.ErrorIs(t, second(c.Exec(t.Context(), "e", d.process("true"), task.Stdio{})), errdefs.ErrFailedPrecondition)
	require.NoError(t, c.Delete(t.Context()))
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

// The process has the very files, not copies' ends.
func TestStdio(t *testing.T) {
	d := newDriver(t)
	in, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	_, err = in.Write(text)
	require.NoError(t, err)
	_, err = in.Seek(0, io.SeekStart)
	require.NoError(t, err)
	out, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	errs, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)

	spec := d.spec("s", "sh", "-c", "cat; echo to stderr >&2; echo $(ls /proc/self/fd) >&2")
	c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "s"), task.Stdio{In: in, Out: out, Err: errs})
	require.NoError(t, err)
	for _, f := range []*os.File{in, out, errs} {
		require.NoError(t, f.Close())
	}
	require.NoError(t, c.Start(t.Context()))
	require.Zero(t, wait(t, p.Pid))
	require.NoError(t, c.Delete(t.Context()))
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.Equal(t, len(text), len(b))
	require.Equal(t, text, b)
	b, err = os.ReadFile(errs.Name())
	require.NoError(t, err)
	require.Equal(t, "to stderr\n0 1 2 3\n", string(b), "the three and ls's own, and nothing of the shim's")
}

func TestTerminal(t *testing.T) {
	d := newDriver(t)
	spec := d.spec("t", "sh", "-c", "stty size; tty; exit 3")
	spec.Process.Terminal = true
	spec.Process.ConsoleSize = &specs.Box{Width: 120, Height: 40}
	c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "t"), task.Stdio{Terminal: true})
	require.NoError(t, err)
	defer p.Console.Close()
	require.NoError(t, c.Start(t.Context()))
	out, _ := io.ReadAll(p.Console) // ends with EIO
	require.Equal(t, "40 120\r\n/dev/pts/0\r\n", string(out))
	require.Equal(t, 3, wait(t, p.Pid))
	require.NoError(t, c.Delete(t.Context()))
}

func TestBundleStaysAsItIs(t *testing.T) {
	d := newDriver(t)
	require.NoError(t, os.WriteFile(d.dir+"/hello", []byte("from the bundle"), 0o644))
	spec := d.spec("b", "cat", "/etc/noexec")
	spec.Root.Readonly = true
	spec.Mounts = append(spec.Mounts, specs.Mount{Source: "hello", Destination: "/etc/noexec", Options: []string{"bind", "ro"}})
	root := *spec.Root
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "b"), task.Stdio{Out: w})
	require.NoError(t, w.Close())
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "from the bundle", string(out))
	require.Zero(t, wait(t, p.Pid))
	require.NoError(t, c.Delete(t.Context()))
	require.Equal(t, root, *spec.Root)
	require.Equal(t, "hello", spec.Mounts[len(spec.Mounts)-1].Source)
	require.NotEmpty(t, spec.Linux.Seccomp.Syscalls)
}

func TestCreateFails(t *testing.T) {
	d := newDriver(t)
	create := func(edit func(*specs.Spec), args ...string) error {
		spec := d.spec("f", args...)
		if edit != nil {
			edit(spec)
		}
		err := third(d.exec.Create(t.Context(), d.bundle(spec, "f"), task.Stdio{}))
		require.Error(t, err)
		require.Empty(t, d.remains())
		require.Empty(t, offspring(), "an unwaited child is left")
		return err
	}
	require.ErrorIs(t, create(nil, "nosuch"), exec.ErrNotFound)
	require.ErrorIs(t, create(nil, "/bin/nosuch"), exec.ErrNotFound)
	require.ErrorIs(t, create(nil, "/etc/noexec"), fs.ErrPermission)
	require.ErrorIs(t, create(nil, "/etc"), fs.ErrPermission)
	require.ErrorIs(t, create(func(s *specs.Spec) { s.Process = nil }, "true"), errdefs.ErrInvalidArgument)
	require.ErrorIs(t, create(func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_LUCK" }, "true"), errdefs.ErrInvalidArgument)
	require.ErrorContains(t, create(func(s *specs.Spec) { s.Process.Cwd = "/etc/noexec" }, "true"), "/etc/noexec")
	require.Error(t, create(func(s *specs.Spec) { s.Mounts[0].Source, s.Mounts[0].Type = "x", "nosuchfs" }, "true"))
	// Ends in nsexec, before Go's runtime: libcontainer leaves a zombie.
	require.Error(t, create(func(s *specs.Spec) {
		for i := range s.Linux.Namespaces {
			if s.Linux.Namespaces[i].Type == specs.NetworkNamespace {
				s.Linux.Namespaces[i].Path = "/proc/self/ns/ipc"
			}
		}
	}, "true"))
	require.ErrorContains(t, create(func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(1 << 20))}
	}, "true"), "memory limit")
}

// offspring are the children of all threads.
func offspring() []int {
	var all []int
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		var tid int
		if _, err := fmt.Sscan(task.Name(), &tid); err == nil {
			for pid := range children(tid) {
				all = append(all, pid)
			}
		}
	}
	return all
}

func TestSameName(t *testing.T) {
	d := newDriver(t)
	d.running("same")
	err := third(d.exec.Create(t.Context(), d.bundle(d.spec("same", "true"), "same"), task.Stdio{}))
	require.ErrorIs(t, err, errdefs.ErrAlreadyExists)
}

func TestStartTwice(t *testing.T) {
	d := newDriver(t)
	c, _ := d.running("twice")
	require.ErrorIs(t, c.Start(t.Context()), errdefs.ErrFailedPrecondition)
}

func TestNeverStarted(t *testing.T) {
	d := newDriver(t)
	c, p, err := d.exec.Create(t.Context(), d.bundle(d.spec("n", "true"), "n"), task.Stdio{})
	require.NoError(t, err)
	require.Error(t, c.Delete(t.Context()), "its process still waits to be started")
	require.NoError(t, unix.Kill(p.Pid, unix.SIGKILL))
	require.Equal(t, 137, wait(t, p.Pid))
	require.ErrorIs(t, c.Start(t.Context()), errdefs.ErrFailedPrecondition)
	require.NoError(t, c.Delete(t.Context()))
}

// A context may end at any moment of a create: what was made is undone.
func TestCreateCancelled(t *testing.T) {
	d := newDriver(t)
	d.life("warm", "true")
	undone := 0
	for i := range 60 {
		ctx, cancel := context.WithCancel(t.Context())
		after := make(chan struct{})
		go func() {
			defer close(after)
			spin(i * 10000)
			cancel()
		}()
		c, p, err := d.exec.Create(ctx, d.bundle(d.spec("x", "true"), "x"), task.Stdio{})
		<-after
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, d.remains())
			require.Empty(t, offspring())
			undone++
			continue
		}
		require.NoError(t, c.Start(t.Context()))
		require.Zero(t, wait(t, p.Pid))
		require.NoError(t, c.Delete(t.Context()))
	}
	require.NotZero(t, undone)
	t.Logf("%d of 60 cancelled in time", undone)
}

// spin passes time without sleeping: n times some nanoseconds.
func spin(n int) {
	for range n {
		runtime.Gosched()
	}
}

func TestManyAtOnce(t *testing.T) {
	d := newDriver(t)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 10 {
				id := fmt.Sprintf("many-%d-%d", g, i)
				out, code := d.life(id, "echo", id)
				if out != id+"\n" || code != 0 {
					t.Errorf("%s: %q, exit code %d", id, out, code)
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingStays(t *testing.T) {
	d := newDriver(t)
	count := func() (fds, goroutines int) {
		// libcontainer's os.Process has a pidfd, which goes with it.
		runtime.GC()
		runtime.GC()
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries), runtime.NumGoroutine()
	}
	c, _ := d.running("host")
	lives := func(n int) {
		for range n {
			d.life("l", "true")
			_, code := d.run(c, d.process("true"))
			require.Zero(t, code)
			require.Error(t, third(d.exec.Create(t.Context(), d.bundle(d.spec("l", "nosuch"), "l"), task.Stdio{})))
		}
	}
	lives(5)
	fds, goroutines := count()
	lives(200)
	require.Eventually(t, func() bool {
		f, g := count()
		return f <= fds+2 && g <= goroutines+2
	}, 5e9, 5e7, "before: %d descriptors, %d goroutines", fds, goroutines)
}
