package wayout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
)

// calls are what a dialer was asked for.
type calls struct {
	mu  sync.Mutex
	all []string
}

func (c *calls) add(s string) { c.mu.Lock(); defer c.mu.Unlock(); c.all = append(c.all, s) }
func (c *calls) take() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.all = c.all, nil
	return all
}

// echoes is a dialer whose other end sends back what it gets. Some ports are
// special: 1 is refused, 2 is of a host that can't be reached.
func echoes(c *calls) Dialer { return echoesUpTo(c, largest) }

// echoesUpTo takes less memory for a flow, in tests that count it.
func echoesUpTo(c *calls, size int) Dialer {
	return func(ctx context.Context, network, address string, from netip.AddrPort) (net.Conn, error) {
		c.add(network + " " + address)
		switch {
		case strings.HasSuffix(address, ":1"):
			return nil, errors.New("refused by somebody")
		case strings.HasSuffix(address, ":2"):
			return nil, &net.OpError{Op: "dial", Err: unix.EHOSTUNREACH}
		}
		if network == "udp" {
			u, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			go func() {
				defer u.Close()
				b := make([]byte, size)
				for {
					_ = u.SetReadDeadline(time.Now().Add(10 * time.Second))
					n, from, err := u.ReadFrom(b)
					if err != nil {
						return
					}
					_, _ = u.WriteTo(b[:n], from)
				}
			}()
			return net.Dial("udp", u.LocalAddr().String())
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		go func() {
			defer l.Close()
			s, err := l.Accept()
			if err != nil {
				return
			}
			defer s.Close()
			_, _ = io.Copy(s, s)
		}()
		return net.Dial("tcp", l.Addr().String())
	}
}

func TestTCP(t *testing.T) {
	var asked calls
	p, _ := open(t, echoes(&asked))
	for _, address := range []string{"192.0.2.80:80", "[2001:db8::1]:443", "169.254.169.254:80", "10.1.2.3:22"} {
		c, err := netns.Dial(t.Context(), p, "tcp", address)
		require.NoError(t, err, address)
		require.Equal(t, address, c.RemoteAddr().String())
		sent := strings.Repeat("hello ", 100_000)
		go func() {
			_, _ = io.WriteString(c, sent)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c) // its end comes after our own, and not before all
		require.NoError(t, err)
		require.Equal(t, sent, string(got))
		c.Close()
		require.Equal(t, []string{"tcp " + address}, asked.take())
	}
}

func TestRefused(t *testing.T) {
	var asked calls
	p, w := open(t, echoes(&asked))
	require.NotNil(t, w.queue, "this kernel can hold a SYN")
	for address, want := range map[string]error{
		"192.0.2.80:1": unix.ECONNREFUSED, "[2001:db8::1]:1": unix.ECONNREFUSED,
		"192.0.2.80:2": unix.EHOSTUNREACH, "[2001:db8::1]:2": unix.EHOSTUNREACH,
		"198.18.200.1:80": unix.EHOSTUNREACH, // it stands for no name
	} {
		_, err := netns.Dial(t.Context(), p, "tcp", address)
		require.ErrorIs(t, err, want, address)
	}
}

// What the namespace has itself stays its own, and what this program listens on
// in there is no way to the host's loopback.
func TestInside(t *testing.T) {
	var asked calls
	p, w := open(t, echoes(&asked))
	l, err := netns.Listen(p, "tcp", "0.0.0.0:80")
	require.NoError(t, err)
	defer l.Close()
	for _, address := range []string{"127.0.0.1:80", "127.9.9.9:80", own4.Addr().String() + ":80", "0.0.0.0:80"} {
		c, err := netns.Dial(t.Context(), p, "tcp", address)
		require.NoError(t, err, address)
		s, err := l.Accept()
		require.NoError(t, err)
		s.Close()
		c.Close()
	}
	_, err = netns.Dial(t.Context(), p, "tcp", "127.0.0.1:81")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	for _, mine := range w.tcp {
		c, err := netns.Dial(t.Context(), p, "tcp", mine.Addr().String())
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		require.ErrorIs(t, err, unix.ECONNRESET)
	}
	for _, mine := range w.udp {
		c, err := netns.Dial(t.Context(), p, "udp", mine.LocalAddr().String())
		require.NoError(t, err)
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		defer c.Close()
	}
	require.Empty(t, asked.take())
}

func TestUDP(t *testing.T) {
	var asked calls
	p, _ := open(t, echoes(&asked))
	for _, address := range []string{"192.0.2.80:123", "[2001:db8::1]:123"} {
		c, err := netns.Dial(t.Context(), p, "udp", address)
		require.NoError(t, err)
		for _, size := range []int{1, 1400, 60_000} {
			sent := strings.Repeat("x", size)
			_, err = io.WriteString(c, sent)
			require.NoError(t, err)
			buf := make([]byte, largest)
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := c.Read(buf)
			require.NoError(t, err, "%d bytes to %s", size, address)
			require.Equal(t, sent, string(buf[:n]))
		}
		require.Equal(t, []string{"udp " + address}, asked.take(), "one flow")
		c.Close()
	}
}

// ask sends a query for a name in the namespace.
func ask(t testing.TB, p *os.File, network, name string, typ dnsmessage.Type) dnsmessage.Message {
	t.Helper()
	c, err := netns.Dial(t.Context(), p, network, Resolver.String()+":53")
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	require.NoError(t, err)
	buf := make([]byte, largest)
	if network == "tcp" {
		_, err = c.Write(append([]byte{0, byte(len(b))}, b...))
		require.NoError(t, err)
		_, err = io.ReadFull(c, buf[:2])
		require.NoError(t, err)
		buf = buf[:int(buf[0])<<8|int(buf[1])]
		_, err = io.ReadFull(c, buf)
		require.NoError(t, err)
	} else {
		_, err = c.Write(b)
		require.NoError(t, err)
		n, err := c.Read(buf)
		require.NoError(t, err)
		buf = buf[:n]
	}
	var m dnsmessage.Message
	require.NoError(t, m.Unpack(buf))
	require.EqualValues(t, 7, m.ID)
	return m
}

// The dialer is given the name that the container looked up.
func TestNames(t *testing.T) {
	var asked calls
	p, _ := open(t, echoes(&asked))
	address := func(m dnsmessage.Message) netip.Addr {
		require.Len(t, m.Answers, 1)
		return netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A)
	}
	for _, network := range []string{"udp", "tcp"} {
		api := address(ask(t, p, network, "api.Example.com.", dnsmessage.TypeA))
		other := address(ask(t, p, network, "other.example.com.", dnsmessage.TypeA))
		require.True(t, reserved.Contains(api))
		require.NotEqual(t, api, other)
		require.Equal(t, api, address(ask(t, p, network, "API.example.com.", dnsmessage.TypeA)))

		c, err := netns.Dial(t.Context(), p, "tcp", api.String()+":443")
		require.NoError(t, err)
		c.Close()
		require.Equal(t, []string{"tcp api.example.com:443"}, asked.take())

		require.Empty(t, ask(t, p, network, "api.example.com.", dnsmessage.TypeAAAA).Answers)
		require.Empty(t, ask(t, p, network, "api.example.com.", dnsmessage.TypeMX).Answers)
		back := ask(t, p, network, fmt.Sprintf("%d.%d.18.198.in-addr.arpa.", api.As4()[3], api.As4()[2]), dnsmessage.TypePTR)
		require.Equal(t, "api.example.com.", back.Answers[0].Body.(*dnsmessage.PTRResource).PTR.String())
		require.Equal(t, dnsmessage.RCodeNameError, ask(t, p, network, "1.2.0.192.in-addr.arpa.", dnsmessage.TypePTR).RCode)
		require.Equal(t, [4]byte{127, 0, 0, 1}, address(ask(t, p, network, "localhost.", dnsmessage.TypeA)).As4())
		for _, bad := range []string{"10.0.0.1.", "a:b.", "a b.", "a\x00b.", "::1."} {
			require.Equal(t, dnsmessage.RCodeNameError, ask(t, p, network, bad, dnsmessage.TypeA).RCode, "%q", bad)
		}
	}
	require.Empty(t, asked.take(), "a query asks no dialer")
}

func TestNamesFull(t *testing.T) {
	var n names
	for i := range mostNames {
		_, ok := n.address(fmt.Sprintf("h%d.test", i))
		require.True(t, ok)
	}
	_, ok := n.address("one.more.test")
	require.False(t, ok)
	first, ok := n.address("h0.test")
	require.True(t, ok)
	require.Equal(t, firstName, first)
	last, ok := n.address(fmt.Sprintf("h%d.test", mostNames-1))
	require.True(t, ok)
	require.True(t, reserved.Contains(last))
}

func FuzzAnswer(f *testing.F) {
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, _ := q.Pack()
	f.Add(b)
	f.Fuzz(func(t *testing.T, query []byte) {
		var n names
		reply := n.answer(query)
		var m dnsmessage.Message
		if reply != nil {
			require.NoError(t, m.Unpack(reply.pack(reply.room)))
			require.True(t, m.Response)
		}
	})
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, p []byte) { _, _ = flowOf(p) })
}

// When the way is closed, all that it had is gone: connections, goroutines,
// descriptors.
func TestClose(t *testing.T) {
	p := process(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // the runtime opens what it polls with
	require.NoError(t, err)
	l.Close()
	var asked calls
	echo := echoes(&asked)
	before, files := runtime.NumGoroutine(), descriptors(t)
	w, err := Open(p, func(ctx context.Context, network, address string, from netip.AddrPort) (net.Conn, error) {
		if strings.HasSuffix(address, ":9") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return echo(ctx, network, address, from)
	}, nil, nil)
	require.NoError(t, err)
	c, err := netns.Dial(t.Context(), p, "tcp", "192.0.2.80:80")
	require.NoError(t, err)
	u, err := netns.Dial(t.Context(), p, "udp", "192.0.2.80:80")
	require.NoError(t, err)
	_, err = u.Write([]byte("x"))
	require.NoError(t, err)
	_, err = u.Read(make([]byte, 1))
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() { _, err := netns.Dial(t.Context(), p, "tcp", "192.0.2.80:9"); waiting <- err }()
	require.Eventually(t, func() bool {
		asked.mu.Lock()
		defer asked.mu.Unlock()
		return len(asked.all) >= 2
	}, 30*time.Second, time.Millisecond)

	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, unix.ECONNRESET)
	c.Close()
	u.Close()
	require.Error(t, <-waiting)
	_, err = netns.Dial(t.Context(), p, "tcp", "192.0.2.80:80")
	require.ErrorIs(t, err, unix.ECONNREFUSED, "closed, not open")
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 && descriptors(t) <= files }, 45*time.Second, 5*time.Millisecond)
}

func descriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

// A dialer that refuses leaves no connection, however many ask at once.
func TestMany(t *testing.T) {
	var asked calls
	p, w := open(t, echoes(&asked))
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			port := []string{"80", "1", "2"}[i%3]
			c, err := netns.Dial(t.Context(), p, "tcp", "192.0.2.80:"+port)
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "x")
			_, _ = c.Read(make([]byte, 1))
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held.mu.Lock()
		defer w.held.mu.Unlock()
		return len(w.conns) == 0 && len(w.held.flows) == 0
	}, 30*time.Second, time.Millisecond)
}

// A thousand connections that are open take two descriptors each, and few kilobytes.
func TestThousand(t *testing.T) {
	const n = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0") // whose kernel takes connections before anybody accepts them
	require.NoError(t, err)
	defer l.Close()
	b, w := openBox(t, to(l))
	b.attack(t, "open", 1)
	files, memory := descriptors(t), resident(t)
	b.attack(t, "open", n)
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.conns) >= 2*(n+1)
	}, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, descriptors(t)-files, 2100)
	if !raced {
		require.LessOrEqual(t, resident(t)-memory, 15<<20)
	}
}
