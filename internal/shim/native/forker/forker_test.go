package forker

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// off makes a system call one that the kernel does not have, for the calling thread
// and what it starts.
func off(number, errno uintptr) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(program)
	if e != 0 {
		return e
	}
	return nil
}

// On a kernel, or in a container, that lacks what is needed, the forker says what.
func TestFeaturesOff(t *testing.T) {
	needsRoot(t)
	for name, number := range map[string]uintptr{
		"mount_setattr": unix.SYS_MOUNT_SETATTR, "fsopen": unix.SYS_FSOPEN, "fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT,
		"move_mount": unix.SYS_MOVE_MOUNT, "open_tree": unix.SYS_OPEN_TREE, "openat2": unix.SYS_OPENAT2, "clone3": unix.SYS_CLONE3,
		"close_range": unix.SYS_CLOSE_RANGE, "faccessat2": unix.SYS_FACCESSAT2, "pidfd_open": unix.SYS_PIDFD_OPEN, "setns": unix.SYS_SETNS,
		"pivot_root": unix.SYS_PIVOT_ROOT, "mount": unix.SYS_MOUNT,
	} {
		for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
			p, err := start(1, func() error { return off(number, uintptr(errno)) })
			if err == nil {
				p.Close()
			}
			require.ErrorIs(t, err, errors.ErrUnsupported, name)
			require.ErrorIs(t, err, errno, name)
			require.ErrorContains(t, err, name)
		}
	}
}

// A memory that may not be executed is another reason.
func TestNoExecution(t *testing.T) {
	needsRoot(t)
	_, err := start(1, func() error { return off(unix.SYS_EXECVE, uintptr(unix.EACCES)) })
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, err, unix.EACCES)
}

// echo is a script that waits, and then ends.
func echo() *Script {
	s := &Script{}
	s.DeathSignal()
	s.Ready()
	s.Find("/", "nothing")
	return s
}

func fork(t *testing.T, p *Pool, s *Script) *Child {
	t.Helper()
	c, err := p.Fork(t.Context(), Order{Cgroup: -1, Pids: -1, Script: s})
	require.NoError(t, err)
	return c
}

func wait(t *testing.T, pid int) unix.WaitStatus {
	t.Helper()
	var ws unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, pid, got)
		return ws
	}
}

// A forker that was killed is replaced, and what it has forked runs on.
func TestForkerKilled(t *testing.T) {
	needsRoot(t)
	p, err := Start(2)
	require.NoError(t, err)
	defer p.Close()
	old := fork(t, p, echo())
	_, err = old.Ready(t.Context())
	require.NoError(t, err)
	var killed []*forker
	for range 2 {
		if f := <-p.idle; f != nil {
			require.NoError(t, unix.Kill(f.pid, unix.SIGKILL))
			killed = append(killed, f)
		}
	}
	for range 2 - len(killed) {
		p.idle <- nil
	}
	for _, f := range killed {
		// It is a zombie, whose socket is closed, until it is waited for.
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(f.connection), Events: unix.POLLHUP}}, 30000)
		require.NoError(t, err)
		p.idle <- f
	}
	for range 3 {
		c := fork(t, p, echo())
		_, err := c.Ready(t.Context())
		require.NoError(t, err)
		c.Close()
		require.Equal(t, 255, wait(t, c.Pid).ExitStatus())
	}
	require.NoError(t, old.Start())
	_, err = old.Executed(t.Context())
	var r *Refusal
	require.ErrorAs(t, err, &r)
	require.True(t, r.Finding)
	require.Equal(t, unix.ENOENT, r.Errno)
	old.Close()
	require.Equal(t, 255, wait(t, old.Pid).ExitStatus())
}

// Nothing of a forker is left after Close: no process, and no descriptor.
func TestClose(t *testing.T) {
	needsRoot(t)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	round := func() {
		p, err := Start(2)
		require.NoError(t, err)
		for range 5 {
			c := fork(t, p, echo())
			_, err := c.Ready(t.Context())
			require.NoError(t, err)
			c.Close()
			wait(t, c.Pid)
		}
		p.Close()
		p.Close()
	}
	round()
	before := count()
	for range 5 {
		round()
	}
	require.Equal(t, before, count())
}

// A context that ends gives up its place in the queue, and ends a wait.
func TestCancelled(t *testing.T) {
	needsRoot(t)
	p, err := Start(1)
	require.NoError(t, err)
	defer p.Close()
	f := <-p.idle
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := p.Fork(ctx, Order{Cgroup: -1, Pids: -1, Script: echo()})
		failed <- err
	}()
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	p.idle <- f
	c := fork(t, p, echo())
	_, err = c.Ready(t.Context())
	require.NoError(t, err)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = c.Executed(ctx)
	require.ErrorIs(t, err, context.Canceled)
	c.Close()
	wait(t, c.Pid)
}

// Rubbish is refused, by a process of its own.
func TestRubbish(t *testing.T) {
	needsRoot(t)
	p, err := Start(1)
	require.NoError(t, err)
	defer p.Close()
	for name, operations := range map[string][]byte{
		"nothing":            {},
		"half a head":        {1, 0},
		"no operation":       {0, 0, 0, 0, 0, 0, 0, 0},
		"an unknown one":     {255, 255, 255, 255, 0, 0, 0, 0},
		"cut short":          {opMask, 0, 0, 0, 255, 255, 255, 255, 'x'},
		"a string's end":     {opMask, 0, 0, 0, 1, 0, 0, 0, 'x'},
		"too few numbers":    {opNode, 0, 0, 0, 4, 0, 0, 0, 1, 1, 1, 1},
		"no such descriptor": {opRoot, 0, 0, 0, 4, 0, 0, 0, 200, 0, 0, 0},
		"too many groups":    {opGroups, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 127},
		"too many steps":     {opFilter, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0},
		"too many lists":     {opCgroups, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255},
	} {
		c, err := p.Fork(t.Context(), Order{Cgroup: -1, Pids: -1, Script: &Script{operations: operations}})
		require.NoError(t, err, name)
		_, err = c.Ready(t.Context())
		require.Error(t, err, name)
		require.NotErrorIs(t, err, io.EOF, name)
		c.Close()
		wait(t, c.Pid)
	}
	_, err = p.Fork(t.Context(), Order{Namespaces: 1, Cgroup: -1, Pids: -1, Script: echo()})
	require.Error(t, err)
	too := echo()
	for range maxFiles + 1 {
		too.place(0)
	}
	_, err = p.Fork(t.Context(), Order{Cgroup: -1, Pids: -1, Script: too})
	require.Error(t, err)
	c := fork(t, p, echo())
	_, err = c.Ready(t.Context())
	require.NoError(t, err, "the forker is as it was")
	c.Close()
	wait(t, c.Pid)
}

// A context that ends just when a process is ready cuts nothing off: the wait for
// what it says next is another's.
func TestCancelledLate(t *testing.T) {
	needsRoot(t)
	p, err := Start(1)
	require.NoError(t, err)
	defer p.Close()
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		c := fork(t, p, echo())
		go cancel()
		if _, err = c.Ready(ctx); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			_, err = c.Ready(t.Context())
		}
		require.NoError(t, err)
		require.NoError(t, c.Start())
		var r *Refusal
		_, err = c.Executed(t.Context())
		require.ErrorAs(t, err, &r)
		c.Close()
		wait(t, c.Pid)
	}
}

// A process that its shim does not listen to any more ends by itself, whatever it
// was to do: the shim's death came before it could ask for a signal.
func TestNobodyListens(t *testing.T) {
	needsRoot(t)
	p, err := Start(1)
	require.NoError(t, err)
	defer p.Close()
	for name, first := range map[string]func(*Script){
		"":           func(*Script) {},
		"the signal": func(s *Script) { s.DeathSignal() },
		"the user":   func(s *Script) { s.User(0, 0) },
	} {
		var hold, did [2]int
		require.NoError(t, unix.Pipe2(hold[:], unix.O_CLOEXEC))
		require.NoError(t, unix.Pipe2(did[:], unix.O_CLOEXEC))
		size, err := unix.FcntlInt(uintptr(hold[1]), unix.F_GETPIPE_SZ, 0)
		require.NoError(t, err)
		full := make([]byte, size)
		_, err = unix.Write(hold[1], full)
		require.NoError(t, err)
		s := &Script{}
		s.JoinCgroups(hold[1:]) // which writes, and so waits
		first(s)
		s.JoinCgroups(did[1:])
		c := fork(t, p, s)
		c.Close()
		unix.Close(did[1])
		for got := 0; got <= size; { // what was there, and its own
			n, err := unix.Read(hold[0], full)
			require.NoError(t, err)
			got += n
		}
		wait(t, c.Pid)
		n, err := unix.Read(did[0], full)
		require.NoError(t, err)
		require.Equal(t, name == "", n == 1, name)
		unix.Close(did[0])
		unix.Close(hold[0])
		unix.Close(hold[1])
	}
}

// A message with more descriptors than one leaves none open.
func TestReceived(t *testing.T) {
	var all []int
	for range 2 {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		all = append(all, fd)
	}
	fd, err := received(unix.UnixRights(all...))
	require.ErrorIs(t, err, unix.EBADMSG)
	require.Equal(t, -1, fd)
	for _, fd := range all {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.ErrorIs(t, err, unix.EBADF)
	}
}
