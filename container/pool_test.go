package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// warm makes a pool that is closed with the test.
func warm(t testing.TB, img *image.Image, n int, cfg container.Config) *container.Pool {
	t.Helper()
	p, err := img.Warm(t.Context(), n, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// claimed runs what is claimed to its end.
func claimed(t testing.TB, p *container.Pool, c container.Claim) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout = &out
	made, err := p.Claim(t.Context(), c)
	require.NoError(t, err)
	defer func() { require.NoError(t, made.Close()) }()
	require.NoError(t, made.Start(t.Context()))
	err = made.Wait(t.Context())
	return out.String(), err
}

// A claimed container sees what one sees that New has made: the same specification,
// host name, environment, processes, limits and mounts.
func TestClaimIsNew(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	img := busybox(t)
	p := warm(t, img, 1, container.Config{Env: []string{"POOL=1", "BOTH=pool"}, Labels: map[string]string{"pool": "1"}, StopSignal: "USR1"})
	const look = `
		ps -o pid,ppid,user,comm,args > /tmp/ps; head -n 2 /tmp/ps
		id; pwd; hostname; cat /etc/hosts /etc/hostname; env | sort
		cut -d' ' -f4- /proc/self/mountinfo | sed "s/layers.[0-9]*/layers/g"
		grep -v -E "^(Pid|PPid|Tgid|NSpid|NSpgid|NStgid|NSsid|Ngid|Vm|Rss|.*ctxt|Cpus|Mems)" /proc/self/status
		cat /proc/self/limits /proc/1/oom_score_adj; ls -l /proc/1/fd > /tmp/fds; cat /tmp/fds | sed "s/.* \([0-9]* ->\)/\1/; s/:.*//"; ls /dev
		cat`
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprint("terminal ", tty), func(t *testing.T) {
			see := func(c *container.Container, err error, out *bytes.Buffer) (string, string) {
				t.Helper()
				require.NoError(t, err)
				defer func() { require.NoError(t, c.Close()) }()
				require.NoError(t, c.Start(t.Context()))
				require.NoError(t, c.Wait(t.Context()))
				i := info(t, c)
				about := fmt.Sprint(i.Name, i.Labels, i.State, i.ExitCode)
				mask := strings.NewReplacer(c.ID(), "ID", "cold", "NAME", "warm", "NAME")
				return mask.Replace("\n" + out.String()), mask.Replace(about + "\n" + string(logs(t, c)))
			}
			var cold, hot bytes.Buffer
			args := []string{"sh", "-c", look}
			c, err := img.New(t.Context(), container.Config{
				Name: "cold" + fmt.Sprint(tty), Args: args, Env: []string{"POOL=1", "BOTH=pool", "OWN=1", "BOTH=own"}, Dir: "/made/for/it", User: "7:8", TTY: tty,
				Labels: map[string]string{"pool": "1", "own": "2"}, StopSignal: "USR1", Stdin: strings.NewReader("input\n"), Stdout: &cold, Stderr: &cold,
			})
			want, wantAbout := see(c, err, &cold)
			c, err = p.Claim(t.Context(), container.Claim{
				Name: "warm" + fmt.Sprint(tty), Args: args, Env: []string{"OWN=1", "BOTH=own"}, Dir: "/made/for/it", User: "7:8", TTY: tty,
				Labels: map[string]string{"own": "2"}, Stdin: strings.NewReader("input\n"), Stdout: &hot, Stderr: &hot,
			})
			have, haveAbout := see(c, err, &hot)
			require.Contains(t, want, "input")
			require.ElementsMatch(t, strings.Split(want, "\n"), strings.Split(have, "\n")) // a terminal echoes when it likes
			require.ElementsMatch(t, strings.Split(wantAbout, "\n"), strings.Split(haveAbout, "\n"))
		})
	}
}

// The process that waits is the one that executes the command.
func TestClaimIsWarm(t *testing.T) {
	t.Parallel()
	p := warm(t, busybox(t), 2, container.Config{})
	waiting := container.Idle(p)
	require.Len(t, waiting, 2)
	c, err := p.Claim(t.Context(), container.Claim{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, c.Start(t.Context()))
	require.Equal(t, waiting[0], info(t, c).Pid)
	same, err := container.Get(t.Context(), c.Engine(), c.ID())
	require.NoError(t, err)
	require.Same(t, c, same)
	idle, err := container.Filled(p)
	require.NoError(t, err)
	require.Equal(t, 2, idle)
	require.NoError(t, c.Stop(t.Context()))
	// Its next life is as any.
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Signal(t.Context(), unix.SIGKILL))
	require.Error(t, c.Wait(t.Context()))
}

// What waits in a pool is in no list, and nothing of one claim is another's.
func TestClaimsApart(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	require.Equal(t, "once\n", fixture.Echo(t, e, "first", "once")) // its layers are unpacked
	before := fixture.Count(t, e)
	p, err := img.Warm(t.Context(), 3, container.Config{})
	require.NoError(t, err)
	all, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, all)
	script := `test ! -e /left && echo $SECRET > /left && hostname && touch /dev/shm/x /tmp/x && cat /left && env | grep -c SECRET`
	var g errgroup.Group
	g.SetLimit(4)
	for n := range 12 {
		g.Go(func() error {
			out, err := claimed(t, p, container.Claim{Args: []string{"sh", "-c", script}, Env: []string{fmt.Sprint("SECRET=", n)}, Name: fmt.Sprint("n", n)})
			if want := fmt.Sprintf("n%d\n%d\n1\n", n, n); err == nil && out != want {
				err = fmt.Errorf("%q, not %q", out, want)
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	_, err = p.Claim(t.Context(), container.Claim{})
	require.ErrorIs(t, err, ctor.ErrClosed)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// A warm instance that dies is replaced, also one that dies while it is claimed, and
// also when all of them die with their shim.
func TestWarmDies(t *testing.T) {
	t.Parallel()
	p := warm(t, busybox(t), 2, container.Config{})
	for range 2 {
		died := container.Idle(p)[0]
		require.NoError(t, unix.Kill(died, unix.SIGKILL))
		out, err := claimed(t, p, container.Claim{Args: []string{"echo", "here"}})
		require.NoError(t, err)
		require.Equal(t, "here\n", out)
		idle, err := container.Filled(p)
		require.NoError(t, err)
		require.Equal(t, 2, idle)
		require.NotContains(t, container.Idle(p), died)
	}
}

// A claim whose command, user or configuration is wrong fails as New does, and takes
// nothing else with it.
func TestBadClaims(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	require.Equal(t, "once\n", fixture.Echo(t, e, "first", "once"))
	before := fixture.Count(t, e)
	p, err := img.Warm(t.Context(), 2, container.Config{Mounts: []container.Mount{{Type: container.Tmpfs, Target: "/somewhere"}}})
	require.NoError(t, err)
	for _, c := range []struct {
		claim container.Claim
		want  []error
	}{
		{container.Claim{Args: []string{"nothing-such"}}, []error{ctor.ErrNotFound}},
		{container.Claim{Args: []string{"/somewhere/nothing"}}, []error{ctor.ErrNotFound}},
		{container.Claim{Args: []string{"/etc/passwd"}}, []error{ctor.ErrInvalid}},
		{container.Claim{User: "nobody-such"}, []error{ctor.ErrNotFound}},
		{container.Claim{Env: []string{"=x"}}, []error{ctor.ErrInvalid}},
		{container.Claim{Name: "-"}, []error{ctor.ErrInvalid}},
		{container.Claim{Dir: "/etc/passwd/x"}, []error{ctor.ErrInvalid}},
		{container.Claim{StopSignal: "SIGNOT"}, []error{ctor.ErrInvalid}},
	} {
		_, err := p.Claim(t.Context(), c.claim)
		for _, want := range c.want {
			require.ErrorIs(t, err, want, "%+v", c.claim)
		}
	}
	first, err := p.Claim(t.Context(), container.Claim{Name: "taken"})
	require.NoError(t, err)
	_, err = p.Claim(t.Context(), container.Claim{Name: "taken"})
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Claim(cancelled, container.Claim{})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, first.Close())
	require.NoError(t, p.Close())
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })

	for _, cfg := range []container.Config{{Name: "x"}, {Stdin: strings.NewReader("")}, {Detach: true}, {Keep: true}, {User: "nobody-such"}} {
		_, err := img.Warm(t.Context(), 1, cfg)
		require.Error(t, err)
	}
	_, err = img.Warm(t.Context(), 0, container.Config{})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// Config.Spec has the last word on a claim's command, too. What it changes beside, or
// what needs another executor, makes another container.
func TestClaimWithSpec(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	calls := 0
	for what, change := range map[string]func(*specs.Spec){
		"the same": func(*specs.Spec) {},
		"another limit": func(s *specs.Spec) {
			calls++
			pids := int64(100 + calls)
			s.Linux.Resources.Pids.Limit = &pids
		},
		"a hook": func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/bin/true"}}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := warm(t, img, 1, container.Config{Spec: func(s *specs.Spec) error {
				s.Process.Args = append([]string{"echo", "wrapped"}, s.Process.Args...)
				change(s)
				return nil
			}})
			out, err := claimed(t, p, container.Claim{Args: []string{"a", "b"}})
			require.NoError(t, err)
			require.Equal(t, "wrapped a b\n", out)
		})
	}
	failing := errors.New("failing")
	fails := false
	p := warm(t, img, 1, container.Config{Spec: func(*specs.Spec) error {
		if fails {
			return failing
		}
		return nil
	}})
	fails = true
	_, err := p.Claim(t.Context(), container.Claim{})
	require.ErrorIs(t, err, failing)
	_, failed := container.Filled(p)
	require.ErrorIs(t, failed, failing)
	_, err = p.Claim(t.Context(), container.Claim{})
	require.ErrorIs(t, err, failing)
	require.ErrorContains(t, err, "in the background")
	_, _ = container.Filled(p)
	fails = false
	_, err = claimed(t, p, container.Claim{Args: []string{"true"}})
	require.NoError(t, err)
	_, failed = container.Filled(p)
	require.NoError(t, failed)
}

// The engine's end is the pool's, at any moment.
func TestPoolEndsWithEngine(t *testing.T) {
	t.Parallel()
	for n := range 5 {
		e := fixture.Open(t)
		img := fixture.Busybox(t, e)
		p, err := img.Warm(t.Context(), 3, container.Config{})
		require.NoError(t, err)
		pids := container.Idle(p)
		var g errgroup.Group
		for range n {
			g.Go(func() error {
				c, err := p.Claim(t.Context(), container.Claim{Args: []string{"true"}})
				if err == nil {
					err = c.Start(t.Context())
				}
				if errors.Is(err, ctor.ErrClosed) {
					return nil
				}
				return err
			})
		}
		require.NoError(t, e.Close())
		_ = g.Wait() // what runs is cut off
		for _, pid := range pids {
			require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH)
		}
		_, err = p.Claim(t.Context(), container.Claim{})
		require.ErrorIs(t, err, ctor.ErrClosed)
	}
}

// Streams of a claim are as those of a container that New has made: the input ends, the
// log has it all.
func TestClaimStreams(t *testing.T) {
	t.Parallel()
	p := warm(t, busybox(t), 1, container.Config{})
	var out, eout bytes.Buffer
	c, err := p.Claim(t.Context(), container.Claim{
		Args: []string{"sh", "-c", "cat; echo done >&2"}, Stdin: io.LimitReader(zeros{}, 1<<20), Stdout: &out, Stderr: &eout,
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, 1<<20, out.Len())
	require.Equal(t, "done\n", eout.String())
	require.Len(t, logs(t, c), 1<<20+5)
}

// A pool of one is as good as a pool of many: claims that come faster than it makes
// instances are served as New serves them.
func TestClaimsFromEmptyPool(t *testing.T) {
	t.Parallel()
	p := warm(t, busybox(t), 1, container.Config{})
	var g errgroup.Group
	for n := range 6 {
		g.Go(func() error {
			out, err := claimed(t, p, container.Claim{Args: []string{"echo", fmt.Sprint(n)}})
			if err == nil && out != fmt.Sprintln(n) {
				err = fmt.Errorf("%q", out)
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
}

// Claims are cut off at any moment, and leave nothing.
func TestClaimCancelled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("30 claims")
	}
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	require.Equal(t, "once\n", fixture.Echo(t, e, "first", "once"))
	before := fixture.Count(t, e)
	p, err := img.Warm(t.Context(), 2, container.Config{})
	require.NoError(t, err)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		c, err := p.Claim(ctx, container.Claim{Name: "one", Args: []string{"true"}})
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
		require.NoError(t, c.Close())
	}
	require.NoError(t, p.Close())
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// A claimed container has its way out, or none.
func TestClaimsWayOut(t *testing.T) {
	t.Parallel()
	p := warm(t, busybox(t), 1, container.Config{Network: container.Out(egress.Allow("nothing.test"))})
	out, err := claimed(t, p, container.Claim{Args: []string{"sh", "-c", "cat /etc/resolv.conf; wget -q -T 3 http://10.9.9.9/ 2>&1 || echo refused"}})
	require.NoError(t, err)
	require.Contains(t, out, "nameserver")
	require.Contains(t, out, "refused")
}
