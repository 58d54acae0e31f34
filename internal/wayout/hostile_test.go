package wayout

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/relay"
)

// resident is how much memory this program has, when it has given back what it
// does not use.
func resident(t testing.TB) int {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, err := strconv.Atoi(strings.Fields(string(rest))[0])
			require.NoError(t, err)
			return n << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// sinks is a dialer whose other ends are in a process of their own kind: they
// write without end and read nothing. stuck counts those that can't write.
func sinks(stuck *atomic.Int64) Dialer {
	block := make([]byte, 64<<10)
	return func(context.Context, string, string, netip.AddrPort) (net.Conn, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		s, err := l.Accept()
		if err != nil {
			out.Close()
			return nil, err
		}
		_ = s.(*net.TCPConn).SetWriteBuffer(32 << 10)
		_ = out.(*net.TCPConn).SetReadBuffer(32 << 10)
		go func() {
			defer s.Close()
			told := false
			for {
				_ = s.SetWriteDeadline(time.Now().Add(2 * time.Second))
				_, err := s.Write(block)
				if err != nil && !os.IsTimeout(err) {
					return
				}
				if err != nil && !told {
					told = true
					stuck.Add(1)
				}
			}
		}()
		return out, nil
	}
}

// neighbour is another container of the program, which must not notice.
type neighbour struct {
	process *os.File
}

// reaches opens connections, each of which has to answer.
func (n neighbour) reaches(t testing.TB, times int) (took []time.Duration) {
	t.Helper()
	for range times {
		begin := time.Now()
		c, err := netns.Dial(t.Context(), n.process, "tcp", "192.0.2.80:80")
		require.NoError(t, err)
		took = append(took, time.Since(begin))
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
		c.Close()
	}
	return took
}

// howManyNames is how many names the hostile container looks up: a million by hand.
var howManyNames = flag.Int("names", 200_000, "how many names TestHostile looks up")

// A hostile container gets its share of the program and no more, and its
// neighbour goes on.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("floods take ten seconds")
	}
	var asked calls
	var stuck atomic.Int64
	share := 2*relay.Connections() + 2*relay.Flows() + 2*mostHeld
	for _, test := range []struct {
		what string
		n    int
		dial Dialer
		wait func(w *Way) bool // until the attack is at its height
	}{
		{"syn", 100_000, echoes(&asked), nil},
		{"udp", 100_000, echoesUpTo(&asked, 2048), func(w *Way) bool { return w.numFlows() > 0 }},
		{"slow", 500, sinks(&stuck), func(w *Way) bool { return int(stuck.Load()) == len(w.places) }},
		{"names", *howManyNames, echoes(&asked), nil},
		{"queries", 100_000, echoes(&asked), nil},
		{"stall", 500, echoes(&asked), nil},
	} {
		if raced {
			test.n /= 5
		}
		t.Run(test.what, func(t *testing.T) {
			near, _ := open(t, echoes(&asked))
			n := neighbour{near}
			n.reaches(t, 20)
			b, w := openBox(t, test.dial)
			memory, files := resident(t), descriptors(t)
			ended := make(chan struct{})
			go func() { defer close(ended); b.attack(t, test.what, test.n) }()
			for going := true; going; {
				select {
				case <-ended:
					going = false
				default:
					n.reaches(t, 10)
					require.LessOrEqual(t, descriptors(t)-files, share+100) // the dialer's other ends are here too
				}
			}
			if test.wait != nil {
				require.Eventually(t, func() bool { return test.wait(w) }, 60*time.Second, time.Millisecond)
			}
			n.reaches(t, 20)
			if grown := resident(t) - memory; !raced {
				require.LessOrEqual(t, grown, 32<<20)
				t.Logf("%d kB more, %d descriptors more", grown>>10, descriptors(t)-files)
			}
			// Its own honest connections still work.
			require.Len(t, ask(t, b.File, "udp", "localhost.", dnsmessage.TypeA).Answers, 1)
			c, err := netns.Dial(t.Context(), b.File, "tcp", "192.0.2.80:80")
			require.NoError(t, err)
			c.Close()
		})
	}
}

func (w *Way) numFlows() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.flows)
}

// BenchmarkNeighbour tells how long a connection of a container takes while
// another one of the program is hostile.
func BenchmarkNeighbour(b *testing.B) {
	for _, what := range []string{"none", "syn", "udp", "queries", "names", "slow"} {
		b.Run(what, func(b *testing.B) {
			var asked calls
			near, _ := open(b, echoes(&asked))
			dial := echoes(&asked)
			if what == "slow" {
				dial = sinks(new(atomic.Int64))
			}
			bad, _ := openBox(b, dial)
			if what != "none" {
				_, err := fmt.Fprintln(bad.in, what, 1<<20)
				require.NoError(b, err)
			}
			var took []time.Duration
			for b.Loop() {
				took = append(took, neighbour{near}.reaches(b, 1)...)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			require.NoError(b, unix.PidfdSendSignal(int(bad.Fd()), unix.SIGKILL, nil, 0)) // it has not ended
		})
	}
}

// A container that takes the rules away, as CAP_NET_ADMIN allows, has closed its
// way out and opened none.
func TestFlush(t *testing.T) {
	var asked calls
	b, w := openBox(t, echoes(&asked))
	l, err := net.Listen("tcp", "127.0.0.1:0") // what must not be reached
	require.NoError(t, err)
	defer l.Close()
	neighbour{b.File}.reaches(t, 1)
	asked.take()
	b.attack(t, "flush", 0)
	for _, address := range []string{"192.0.2.80:80", "[2001:db8::1]:80", "169.254.169.254:80", l.Addr().String()} {
		_, err := netns.Dial(t.Context(), b.File, "tcp", address)
		require.ErrorIs(t, err, unix.ECONNREFUSED, address)
	}
	for _, mine := range w.tcp { // the program's own listeners are still there
		c, err := netns.Dial(t.Context(), b.File, "tcp", mine.Addr().String())
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		require.ErrorIs(t, err, unix.ECONNRESET)
	}
	u, err := netns.Dial(t.Context(), b.File, "udp", "192.0.2.80:80")
	require.NoError(t, err)
	defer u.Close()
	_, err = u.Write([]byte("x"))
	require.NoError(t, err)
	_, err = u.Read(make([]byte, 1))
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	require.Empty(t, asked.take())
}

// Packets from addresses that are not the container's reach what its own do, and
// no more: what stays the namespace's own never reaches the dialer.
func TestSpoof(t *testing.T) {
	var asked calls
	b, w := openBox(t, echoes(&asked))
	b.attack(t, "spoof", 0)
	neighbour{b.File}.reaches(t, 1) // behind them in the queue
	for _, a := range asked.take() {
		require.Contains(t, []string{"tcp 192.0.2.80:80", "tcp 169.254.169.254:80"}, a)
	}
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.conns) == 0
	}, 30*time.Second, time.Millisecond, "none of them is a connection")
}

// An address is what it means, however it is written.
func TestMapped(t *testing.T) {
	var asked calls
	b, w := openBox(t, echoes(&asked))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	b.attack(t, "mapped", l.Addr().(*net.TCPAddr).Port)
	for _, mine := range w.tcp {
		b.attack(t, "mapped", mine.Addr().(*net.TCPAddr).Port)
	}
	require.Empty(t, asked.take())
}
