package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// counts is a program that counts its lives in its files and tells the number.
const counts = `n=$(cat /n 2>/dev/null); n=$((n+1)); echo $n >/n; echo life $n`

// lives is what counts says in so many lives.
func lives(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, "life", i+1)
	}
	return b.String()
}

// kinds are the three ways to own a container.
var kinds = map[string]func(container.Config) container.Config{
	"attached": func(c container.Config) container.Config { return c },
	"detached": func(c container.Config) container.Config { c.Detach = true; return c },
	"kept":     func(c container.Config) container.Config { c.Keep = true; return c },
}

// A container of each kind is started again: the same files, one log, and each
// life tells how it ended.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c, err := busybox(t).New(t.Context(), of(sh(counts+"; exit $n")))
			require.NoError(t, err)
			defer c.Remove(context.WithoutCancel(t.Context()))
			require.Zero(t, info(t, c).Lives)
			follower, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
			require.NoError(t, err)
			defer follower.Close()
			through, err := c.Logs(t.Context(), &container.LogOptions{Follow: true, Restarts: true})
			require.NoError(t, err)
			defer through.Close()
			for n := 1; n <= 3; n++ {
				before := time.Now()
				require.NoError(t, c.Start(t.Context()))
				require.Equal(t, n, exitOf(t, c).Code)
				i := info(t, c)
				require.Equal(t, container.Exited, i.State)
				require.Equal(t, n, i.ExitCode)
				require.Equal(t, n, i.Lives)
				require.WithinRange(t, i.Started, before, time.Now())
				require.WithinRange(t, i.Finished, i.Started, time.Now())
				b, err := io.ReadAll(follower)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("life %d\n", n), string(b))
				require.Equal(t, lives(n), logs(t, c))
				for _, follow := range []bool{false, true} {
					r, err := c.Logs(t.Context(), &container.LogOptions{Current: true, Follow: follow})
					require.NoError(t, err)
					b, err = io.ReadAll(r)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("life %d\n", n), string(b))
				}
			}
			b := make([]byte, len(lives(3)))
			_, err = io.ReadFull(through, b)
			require.NoError(t, err)
			require.Equal(t, lives(3), string(b))
			text, err := c.FS().ReadFile("n")
			require.NoError(t, err)
			require.Equal(t, "3\n", string(text))
			require.NoError(t, c.Remove(t.Context()))
			require.NoError(t, c.Remove(t.Context()), "it is gone already")
			_, err = container.Get(t.Context(), c.Engine(), c.ID())
			require.ErrorIs(t, err, ctor.ErrNotFound)
			_, err = io.ReadAll(through)
			require.NoError(t, err)
		})
	}
}

// A hundred starts keep the files, and leave no more behind than one.
func TestStartHundredTimes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("100 lives")
	}
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	c, err := img.New(t.Context(), sh(counts))
	require.NoError(t, err)
	live := func() {
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
	}
	live()
	before := fixture.Count(t, e)
	delete(before, "cgroups") // the life may be on its way out: it leaves none
	for range 99 {
		live()
	}
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
	require.Equal(t, lives(100), logs(t, c))
	require.Equal(t, 100, info(t, c).Lives)
	require.NoError(t, c.Close())
}

// What belongs to one life ends with it, and is made again for the next.
func TestAgainAnew(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; httpd -f -p 80 -h /etc"))
	get := func() {
		t.Helper()
		require.NoError(t, c.WaitReady(t.Context(), container.All(container.Log("ready", 1), container.TCP(80))))
		conn, err := c.Dial(t.Context(), "tcp", ":80")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		out, err := c.Command(t.Context(), "echo", "hello").Output()
		require.NoError(t, err)
		require.Equal(t, "hello\n", string(out))
		_, err = c.FS().Stat("dev/null")
		require.NoError(t, err, "it is the process's root")
		s, err := c.Stats(t.Context())
		require.NoError(t, err)
		require.NotZero(t, s.Pids)
	}
	get()
	first := info(t, c).Pid
	l, err := c.Listen(t.Context(), "tcp", ":81")
	require.NoError(t, err)
	require.NoError(t, c.FS().WriteFile("note", []byte("kept"), 0o600))
	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	require.Equal(t, 137, exitOf(t, c).Code)
	_, err = l.Accept()
	require.Error(t, err)
	_, err = c.FS().ReadFile("note")
	require.NoError(t, err, "the layer is held open")
	require.Error(t, c.Command(t.Context(), "true").Run())
	require.NoError(t, c.Start(t.Context()))
	require.NotEqual(t, first, info(t, c).Pid)
	get()
	text, err := c.FS().ReadFile("note")
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
	l, err = c.Listen(t.Context(), "tcp", ":81")
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// Streams of the program's go through all lives, as through commands of os/exec
// that run one after the other.
func TestAgainStreams(t *testing.T) {
	t.Parallel()
	in, feed := io.Pipe()
	var out bytes.Buffer // written by one goroutine at a time, and read between lives
	cfg := sh("read line && echo got $line")
	cfg.Stdin, cfg.Stdout = in, &out
	c, err := busybox(t).New(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close()
	for i := range 3 {
		require.NoError(t, c.Start(t.Context()))
		_, err := fmt.Fprintln(feed, i)
		require.NoError(t, err)
		require.NoError(t, c.Wait(t.Context()))
	}
	require.Equal(t, "got 0\ngot 1\ngot 2\n", out.String())
	// What comes between two lives is the next one's.
	go func() { _, _ = fmt.Fprintln(feed, "between") }()
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "got 0\ngot 1\ngot 2\ngot between\n", out.String())
	require.NoError(t, feed.Close())
	require.NoError(t, c.Start(t.Context()))
	require.Error(t, c.Wait(t.Context()), "read finds no line")
}

// A writer that does not return holds up the next life, and not for longer than
// ctx says.
func TestAgainStuckWriter(t *testing.T) {
	t.Parallel()
	written, stuck := make(chan struct{}, 2), make(chan struct{})
	cfg := sh("echo hello")
	cfg.Stdout = writer(func(p []byte) (int, error) {
		written <- struct{}{}
		<-stuck
		return len(p), nil
	})
	c, err := busybox(t).Run(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close()
	<-written
	require.NoError(t, c.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = c.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "output of its last life")
	close(stuck)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "hello\nhello\n", logs(t, c))
}

// The runtime lets go of a container that has ended, which is started again all the
// same, and tells all that it did before.
func TestPassed(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"attached", "kept"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c, err := busybox(t).Run(t.Context(), kinds[kind](sh(counts+"; exit 3")))
			require.NoError(t, err)
			defer c.Remove(context.WithoutCancel(t.Context()))
			for n := 1; n <= 3; n++ {
				require.Equal(t, 3, exitOf(t, c).Code)
				require.Eventually(t, func() bool { return !hasTask(t, c) }, fixture.Patience, 5*time.Millisecond)
				i := info(t, c)
				require.Equal(t, container.Exited, i.State)
				require.Equal(t, 3, i.ExitCode)
				require.Equal(t, n, i.Lives)
				require.Equal(t, lives(n), logs(t, c))
				file, err := c.FS().ReadFile("n")
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintln(n), string(file))
				require.ErrorIs(t, c.Signal(t.Context(), syscall.SIGTERM), ctor.ErrNotFound)
				require.NoError(t, c.Stop(t.Context()))
				require.NoError(t, c.Start(t.Context()))
			}
			require.Equal(t, 3, exitOf(t, c).Code)
		})
	}
}

// hasTask tells whether the runtime has anything of a container.
func hasTask(t testing.TB, c *container.Container) bool {
	t.Helper()
	e := c.Engine()
	_, err := e.Containerd().TaskService().Get(e.Context(t.Context()), &api.GetRequest{ContainerID: c.ID()})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return false
	}
	require.NoError(t, err)
	return true
}

// What can't be started says why, each time, and can be once that is mended.
func TestAgainFails(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c, err := busybox(t).Run(t.Context(), of(container.Config{Args: []string{"/bin/sh", "-c", "echo hello; mv /bin/sh /bin/gone; exit 3"}}))
			require.NoError(t, err)
			defer c.Remove(context.WithoutCancel(t.Context()))
			require.Equal(t, 3, exitOf(t, c).Code)
			for range 3 { // a crash loop
				require.ErrorIs(t, c.Start(t.Context()), ctor.ErrNotFound)
				i := info(t, c)
				require.Equal(t, container.Exited, i.State)
				require.Equal(t, 3, i.ExitCode, "of the last life that there was")
				require.Equal(t, 1, i.Lives)
				require.Equal(t, 3, exitOf(t, c).Code)
			}
			require.NoError(t, c.FS().Rename("bin/gone", "bin/sh"))
			require.NoError(t, c.Start(t.Context()))
			require.Equal(t, 3, exitOf(t, c).Code)
			// In between there may be what the runc command had to say.
			require.Regexp(t, "(?s)^hello\n.*hello\n$", logs(t, c))
			require.Equal(t, 2, info(t, c).Lives)
		})
	}
}

// Starts, at any moment and from several Containers of one container, either
// work or say why they don't; and so do removals beside them.
func TestAgainRaces(t *testing.T) {
	t.Parallel()
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c, err := busybox(t).Run(t.Context(), of(sh(counts+"; [ $n -gt 1 ] || exit 0; sleep 1000")))
			require.NoError(t, err)
			defer c.Remove(context.WithoutCancel(t.Context()))
			require.NoError(t, c.Wait(t.Context()))
			other, err := container.Get(t.Context(), c.Engine(), c.ID())
			require.NoError(t, err)
			require.Equal(t, kind != "detached", c == other)
			errs := make([]error, 8)
			var wg sync.WaitGroup
			for i, c := range []*container.Container{c, other, c, other, c, other, c, other} {
				wg.Go(func() { errs[i] = c.Start(t.Context()) })
			}
			wg.Wait()
			started := 0
			for _, err := range errs {
				if err == nil {
					started++
					continue
				}
				require.ErrorIs(t, err, ctor.ErrInvalid)
			}
			require.Equal(t, 1, started)
			require.ErrorContains(t, c.Start(t.Context()), "it is running")
			require.Equal(t, 2, info(t, other).Lives)
			require.Equal(t, info(t, c).Pid, info(t, other).Pid)
			require.NoError(t, other.Command(t.Context(), "true").Run())

			require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
			require.Equal(t, 137, exitOf(t, c).Code)
			var serr, rerr error
			wg.Go(func() { serr = c.Start(t.Context()) })
			wg.Go(func() { rerr = c.Remove(t.Context()) })
			wg.Wait()
			require.NoError(t, rerr)
			if serr != nil {
				require.ErrorIs(t, serr, ctor.ErrNotFound)
			}
			require.ErrorIs(t, c.Start(t.Context()), ctor.ErrNotFound)
			require.ErrorIs(t, other.Start(t.Context()), ctor.ErrNotFound)
			_, err = container.Get(t.Context(), c.Engine(), c.ID())
			require.ErrorIs(t, err, ctor.ErrNotFound)
		})
	}
}

// A kept container is closed with its program, however that ends, and the next
// one finds it with all its files, and starts it.
func TestKept(t *testing.T) {
	t.Parallel()
	root, before := prepared(t)
	h := startHelper(t, "kept", root)
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	for n := 2; n <= 4; n++ {
		e := reopen(t, root)
		require.Empty(t, fixture.Count(t, e)["processes"])
		c, err := container.Get(t.Context(), e, "kept")
		require.NoError(t, err)
		i := info(t, c)
		require.True(t, i.Kept)
		require.Equal(t, container.Exited, i.State)
		require.Equal(t, n-1, i.Lives)
		require.NotZero(t, i.Started)
		if n == 2 {
			require.Equal(t, -1, i.ExitCode, "no program saw the end")
			require.ErrorIs(t, c.Wait(t.Context()), ctor.ErrUnavailable)
		} else {
			require.Equal(t, 137, i.ExitCode)
			require.NotZero(t, i.Finished)
			require.Equal(t, 137, exitOf(t, c).Code)
		}
		require.NoError(t, c.Stop(t.Context()))
		text, err := c.FS().ReadFile("n")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintln(n-1), string(text))
		require.Equal(t, lives(n-1), logs(t, c))
		require.NoError(t, c.Start(t.Context()))
		says(t, c, fmt.Sprint("life ", n))
		same, err := container.Get(t.Context(), e, "kept")
		require.NoError(t, err)
		require.Same(t, c, same)
		if n == 3 {
			require.NoError(t, c.Close())
			_, err = c.Info(t.Context())
			require.ErrorIs(t, err, ctor.ErrNotFound)
			c, err = container.Get(t.Context(), e, "kept")
			require.NoError(t, err)
			require.NotSame(t, c, same)
			require.Equal(t, 137, info(t, c).ExitCode)
		}
		require.NoError(t, e.Close())
	}
	e := reopen(t, root)
	c, err := container.Get(t.Context(), e, "kept")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, c.Remove(t.Context()), "a closed one too")
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// A program is killed at any moment of a start: the next one finds the
// containers, and starts them.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a program killed 6 times")
	}
	root, before := prepared(t)
	for range 6 {
		h := startHelper(t, "again", root)
		time.Sleep(rand.N(300 * time.Millisecond)) // any moment
		require.NoError(t, h.Process.Kill())
		_ = h.Wait()
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		for _, name := range []string{"kept", "detached"} {
			c, err := container.Get(t.Context(), e, name)
			require.NoError(t, err)
			require.NoError(t, c.Stop(t.Context()))
			before := info(t, c).Lives
			require.NotZero(t, before)
			require.NoError(t, c.Start(t.Context()))
			require.NoError(t, c.Wait(t.Context()))
			require.Equal(t, before+1, info(t, c).Lives)
			text, err := c.FS().ReadFile("n")
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(logs(t, c), "life "+string(text)))
			require.NoError(t, c.Remove(t.Context()))
		}
		before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		require.NoError(t, e.Close())
	}
}

// One that was made and never started is found as that.
func TestKeptCreated(t *testing.T) {
	t.Parallel()
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	cfg := sh(counts)
	cfg.Name, cfg.Keep = "kept", true
	_, err = fixture.Busybox(t, e).New(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	e = reopen(t, root)
	c, err := container.Get(t.Context(), e, "kept")
	require.NoError(t, err)
	require.Equal(t, container.Created, info(t, c).State)
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, lives(1), logs(t, c))
	require.NoError(t, c.Remove(t.Context()))
}

func TestKeepOrDetach(t *testing.T) {
	t.Parallel()
	_, err := busybox(t).New(t.Context(), container.Config{Keep: true, Detach: true})
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

// A detached container whose shim was killed is started again.
func TestAgainAfterShim(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	cfg := sh(counts + "; sleep 1000")
	cfg.Detach = true
	c, err := fixture.Busybox(t, e).Run(t.Context(), cfg)
	require.NoError(t, err)
	says(t, c, "life 1")
	require.NoError(t, syscall.Kill(shimOf(t, c), syscall.SIGKILL))
	require.ErrorIs(t, c.Wait(t.Context()), ctor.ErrUnavailable)
	require.Equal(t, -1, info(t, c).ExitCode)
	require.NoError(t, c.Start(t.Context()))
	says(t, c, "life 2")
	require.Equal(t, 2, info(t, c).Lives)
	require.Equal(t, lives(2), logs(t, c))
	require.NoError(t, c.Close())
}

// writer makes a function a writer.
type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// A program that restarts what fails sees each failure.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), sh("exit 9"))
	require.NoError(t, err)
	defer c.Close()
	for range 5 {
		require.NoError(t, c.Start(t.Context()))
		var exit *container.ExitError
		require.True(t, errors.As(c.WaitReady(t.Context(), container.Log("ready", 1)), &exit))
		require.Equal(t, 9, exit.Code)
	}
	require.ErrorIs(t, c.Command(t.Context(), "true").Run(), ctor.ErrInvalid)
	require.NotErrorIs(t, c.Command(t.Context(), "true").Run(), exec.ErrNotFound)
}
