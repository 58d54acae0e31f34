package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// helperEnv has the test binary be a process in a network of its own, with a
// loopback that is up, until its standard input ends. portsEnv is which ports
// connect from there.
const (
	helperEnv = "CTOR_TEST_NETNS"
	portsEnv  = "CTOR_TEST_PORTS"
)

// first is what the process's first thread is to do: it runs nothing else.
var first = make(chan func())

func init() { runtime.LockOSThread() } // main's, and so TestMain's

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		done := make(chan int)
		go func() { done <- m.Run() }()
		for {
			select {
			case f := <-first:
				f()
			case code := <-done:
				os.Exit(code)
			}
		}
	}
	err := up("lo")
	if ports := os.Getenv(portsEnv); ports != "" {
		err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func up(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
}

// process starts one in a network of its own, and gives its pidfd and how to
// end it.
func process(t testing.TB, env ...string) (pidfd *os.File, end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	fd := -1
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, helperEnv+"=1")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, PidFD: &fd}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pidfd = os.NewFile(uintptr(fd), "pidfd")
	end = func() { stdin.Close(); _ = cmd.Wait() }
	t.Cleanup(func() { end(); pidfd.Close() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return pidfd, end
}

// threads gives those of this process that are not in its network namespace,
// and how many there are in all.
func threads(t testing.TB) (astray []string, all int) {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	tasks, err := filepath.Glob("/proc/self/task/*")
	require.NoError(t, err)
	for _, task := range tasks {
		ns, err := os.Readlink(filepath.Join(task, "ns/net"))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended meanwhile
		}
		require.NoError(t, err)
		if all++; ns != home {
			astray = append(astray, filepath.Base(task)+" "+ns)
		}
	}
	return astray, all
}

// cookie is the number of a socket's namespace.
func cookie(t testing.TB, c syscall.Conn) uint64 {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var n uint64
	var nerr error
	require.NoError(t, raw.Control(func(fd uintptr) { n, nerr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) }))
	require.NoError(t, nerr)
	return n
}

func TestNetworks(t *testing.T) {
	pidfd, _ := process(t)
	here, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer here.Close()
	for _, test := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp4", ":0"}, {"tcp6", ":0"}, {"tcp", "[::1]:0"}, {"unix", "@name"}, {"unixpacket", "@packets"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			l, err := Listen(pidfd, test.network, test.address)
			require.NoError(t, err)
			defer l.Close()
			require.NotEqual(t, cookie(t, here.(syscall.Conn)), cookie(t, l.(syscall.Conn)))
			c, err := Dial(t.Context(), pidfd, test.network, l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, cookie(t, l.(syscall.Conn)), cookie(t, c.(syscall.Conn)))
			s, err := l.Accept()
			require.NoError(t, err)
			defer s.Close()
			exchange(t, c, s)
		})
	}
	for _, test := range []struct{ network, address string }{{"udp", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(test.network, func(t *testing.T) {
			l, err := ListenPacket(pidfd, test.network, test.address)
			require.NoError(t, err)
			defer l.Close()
			c, err := Dial(t.Context(), pidfd, test.network, l.LocalAddr().String())
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write([]byte("hello"))
			require.NoError(t, err)
			got := make([]byte, 10)
			n, from, err := l.ReadFrom(got)
			require.NoError(t, err)
			require.Equal(t, "hello", string(got[:n]))
			require.Equal(t, c.LocalAddr().String(), from.String())
		})
	}
}

func exchange(t testing.TB, c, s net.Conn) {
	t.Helper()
	_, err := c.Write([]byte("there"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(s, got)
	require.NoError(t, err)
	require.Equal(t, "there", string(got))
}

// A connection is package net's, as its own are.
func TestDefaults(t *testing.T) {
	pidfd, _ := process(t)
	l, err := Listen(pidfd, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := Dial(t.Context(), pidfd, "tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.IsType(t, &net.TCPConn{}, c)
	require.IsType(t, &net.TCPListener{}, l)
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for name, opt := range map[string][2]int{
			"nodelay": {unix.IPPROTO_TCP, unix.TCP_NODELAY}, "keepalive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		} {
			n, err := unix.GetsockoptInt(int(fd), opt[0], opt[1])
			require.NoError(t, err)
			require.Equal(t, 1, n, name)
		}
		proto, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
		require.NoError(t, err)
		require.Equal(t, unix.IPPROTO_TCP, proto)
	}))
}

func TestErrors(t *testing.T) {
	pidfd, end := process(t)
	for address, want := range map[string]error{
		"127.0.0.1:1": unix.ECONNREFUSED, "[::1]:1": unix.ECONNREFUSED, "192.0.2.1:1": unix.ENETUNREACH,
	} {
		_, err := Dial(t.Context(), pidfd, "tcp", address)
		require.ErrorIs(t, err, want)
		require.IsType(t, &net.OpError{}, err)
	}
	_, err := Dial(t.Context(), pidfd, "nonsense", "127.0.0.1:1")
	require.ErrorIs(t, err, net.UnknownNetworkError("nonsense"))
	_, err = Listen(pidfd, "tcp", "192.0.2.1:1")
	require.ErrorIs(t, err, unix.EADDRNOTAVAIL)
	l, err := Listen(pidfd, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = Listen(pidfd, "tcp", l.Addr().String())
	require.ErrorIs(t, err, unix.EADDRINUSE)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, pidfd, "tcp", l.Addr().String())
	require.ErrorIs(t, err, context.Canceled)

	end()
	_, err = Dial(t.Context(), pidfd, "tcp", l.Addr().String())
	require.ErrorIs(t, err, unix.ESRCH)
	_, err = Listen(pidfd, "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, unix.ESRCH)
	pidfd.Close()
	_, err = Dial(t.Context(), pidfd, "tcp", l.Addr().String())
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = Dial(t.Context(), pidfd, "tcp", "[::]:1")
	require.Error(t, err, "two sockets, in goroutines of package net")
	astray, _ := threads(t)
	require.Empty(t, astray)
}

// A connect that waits ends with ctx, and holds no thread: its goroutine is
// not locked to one any more.
func TestWaitingConnect(t *testing.T) {
	pidfd, _ := process(t)
	l, err := Listen(pidfd, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	raw, err := l.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, unix.Listen(int(fd), 0)) }))
	first, err := Dial(t.Context(), pidfd, "tcp", l.Addr().String()) // fills the queue
	require.NoError(t, err)
	defer first.Close()

	_, before := threads(t)
	const n = 100
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting errgroup.Group
	for range n {
		waiting.Go(func() error {
			c, err := Dial(ctx, pidfd, "tcp", l.Addr().String())
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	require.Eventually(t, func() bool { return connecting(t, pidfd) >= n }, 10*time.Second, 5*time.Millisecond)
	astray, after := threads(t)
	require.Empty(t, astray)
	require.Less(t, after, before+n, "none holds a thread")
	cancel()
	require.ErrorIs(t, waiting.Wait(), context.Canceled)
}

// connecting counts the sockets of the namespace that wait for an answer.
func connecting(t testing.TB, pidfd *os.File) (n int) {
	t.Helper()
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(int(pidfd.Fd())))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(info), "Pid:")
	var pid int
	_, err = fmt.Sscan(after, &pid)
	require.NoError(t, err)
	tcp, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(tcp)) {
		if f := strings.Fields(line); f[3] == "02" { // SYN_SENT
			n++
		}
	}
	return n
}

// No thread is lost, and none stays in the namespace.
func TestThreads(t *testing.T) {
	pidfd, _ := process(t)
	l, err := Listen(pidfd, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	const each = 10000 / 50
	var good atomic.Int64
	burst := func() {
		var g errgroup.Group
		for range 50 {
			g.Go(func() error {
				for i := range each {
					if err := one(t.Context(), pidfd, l.Addr().String(), i); err != nil {
						return err
					}
					good.Add(1)
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
	}
	burst()
	_, before := threads(t)
	burst()
	astray, after := threads(t)
	require.Empty(t, astray)
	// The Go runtime keeps the threads that it has, and may add some: those of
	// the visits, if it had not as many before, and for those that are slow.
	require.Less(t, after, before+each)
	require.Empty(t, visits)
	require.EqualValues(t, 20000, good.Load())
}

// one is a dial, every other of which can't work.
func one(ctx context.Context, pidfd *os.File, address string, i int) error {
	if i%2 == 0 {
		c, err := Dial(ctx, pidfd, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	var want error
	network := "tcp"
	switch i % 8 {
	case 1:
		address, want = "127.0.0.1:1", unix.ECONNREFUSED
	case 3:
		address, want = "192.0.2.1:1", unix.ENETUNREACH
	case 5:
		network, want = "nope", net.UnknownNetworkError("nope")
	case 7:
		cancel()
		want = context.Canceled
	}
	defer cancel()
	if _, err := Dial(ctx, pidfd, network, address); !errors.Is(err, want) {
		return fmt.Errorf("%d: not %w: %w", i, want, err)
	}
	return nil
}

// The process's first thread stays where it is: /proc/self shows its network
// to the whole program.
func TestFirstThread(t *testing.T) {
	pidfd, _ := process(t)
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	var (
		ns, self string
		thread   int
	)
	failed := make(chan error)
	first <- func() {
		failed <- lock(to(pidfd), func(control) (err error) {
			thread = unix.Gettid()
			if ns, err = os.Readlink("/proc/thread-self/ns/net"); err == nil {
				self, err = os.Readlink("/proc/self/ns/net")
			}
			return err
		})
	}
	require.NoError(t, <-failed)
	require.NotEqual(t, unix.Getpid(), thread)
	require.NotEqual(t, home, ns)
	require.Equal(t, home, self)
	astray, _ := threads(t)
	require.Empty(t, astray)
}

// A thread that can't come back ends.
func TestNoWayBack(t *testing.T) {
	pidfd, _ := process(t)
	for _, socket := range []bool{true, false} {
		var lost int
		err := within(to(pidfd), func(ctl control) error {
			lost = unix.Gettid()
			dropCapabilities()
			if socket {
				return ctl("", "", nil)
			}
			return unix.EMFILE
		})
		require.ErrorIs(t, err, unix.EPERM)
		require.ErrorContains(t, err, "back to the program's own namespace: setns: ")
		require.Equal(t, !socket, errors.Is(err, unix.EMFILE))
		require.Eventually(t, func() bool {
			_, err := os.Stat("/proc/self/task/" + strconv.Itoa(lost))
			return errors.Is(err, os.ErrNotExist)
		}, 10*time.Second, time.Millisecond)
	}
	astray, _ := threads(t)
	require.Empty(t, astray)
}

// dropCapabilities takes them from the calling thread.
func dropCapabilities() {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&h, &none[0]); err != nil {
		panic(err)
	}
}

// Where package net makes a second socket, it would be the host's: here it has
// no port to connect from but the one it connects to.
func TestSelfConnect(t *testing.T) {
	pidfd, _ := process(t, portsEnv+"=40000 40000")
	here, err := net.Listen("tcp", "127.0.0.1:40000") // whom it must not reach
	if err == nil {
		defer here.Close()
	}
	_, err = Dial(t.Context(), pidfd, "tcp", "127.0.0.1:40000")
	require.ErrorIs(t, err, unix.EADDRNOTAVAIL)
	require.IsType(t, &net.OpError{}, err)
	astray, _ := threads(t)
	require.Empty(t, astray)
}

// None of the program's code runs in the namespace.
func TestHooks(t *testing.T) {
	pidfd, _ := process(t)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		ConnectStart: func(string, string) { t.Error("the hook was called") },
	})
	_, err := Dial(ctx, pidfd, "tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}
