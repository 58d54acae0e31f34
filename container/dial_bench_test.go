package container_test

import (
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
)

// Dial to a server in a container, and net.Dial to the same server on the
// host's loopback, by turns.
func BenchmarkDial(b *testing.B) {
	c, inside := serving(b, container.Config{})
	outside := servingHere(b)
	beside(b,
		func() {
			conn, err := c.Dial(b.Context(), "tcp", inside.Echo)
			require.NoError(b, err)
			conn.Close()
		},
		func() {
			conn, err := net.Dial("tcp", outside.Echo)
			require.NoError(b, err)
			conn.Close()
		})
}

// Bytes through a connection into a container's network, and through one on the
// host's loopback, by turns: with both ends in the program, and with a server
// in a container, which on the other side shares the host's network. (Beside a
// server that is in no container, one in a container may be much slower where
// CPUs are busy, or faster: the scheduler shares them out among cgroups.)
func BenchmarkThroughput(b *testing.B) {
	b.Run("ends", func(b *testing.B) {
		c, err := busybox(b).New(b.Context(), container.Config{})
		require.NoError(b, err)
		defer c.Close()
		l, err := c.Listen(b.Context(), "tcp", "127.0.0.1:0")
		require.NoError(b, err)
		plain, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		defer plain.Close()
		for _, l := range []net.Listener{l, plain} {
			go func() {
				if conn, err := l.Accept(); err == nil {
					_, _ = io.Copy(sink{}, conn)
				}
			}()
		}
		throughput(b, c, l.Addr().String(), plain.Addr().String())
	})
	b.Run("server", func(b *testing.B) {
		c, inside := serving(b, container.Config{})
		_, outside := serving(b, container.Config{Spec: hostNetwork})
		throughput(b, c, inside.Discard, outside.Discard)
	})
}

func throughput(b *testing.B, c *container.Container, inside, outside string) {
	const size = 32 << 20
	there, err := c.Dial(b.Context(), "tcp", inside)
	require.NoError(b, err)
	defer there.Close()
	here, err := net.Dial("tcp", outside)
	require.NoError(b, err)
	defer here.Close()
	send := func(conn net.Conn) func() {
		return func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{conn}, io.LimitReader(zeros{}, size), make([]byte, 64<<10))
			require.NoError(b, err)
		}
	}
	b.SetBytes(2 * size)
	beside(b, send(there), send(here))
}

// beside does both, in an order of its own each time, and reports the median
// of each and how many times the other's one's is.
func beside(b *testing.B, one, other func()) {
	b.Helper()
	var took [2][]time.Duration
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			began := time.Now()
			[]func(){one, other}[i]()
			took[i] = append(took[i], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds()) / 1e3
	}
	in, plain := median(took[0]), median(took[1])
	b.ReportMetric(in, "µs")
	b.ReportMetric(plain, "µs-plain")
	b.ReportMetric(in/plain, "x-plain")
}
