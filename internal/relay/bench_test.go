package relay

import (
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Bytes through a joint, and over loopback alone, by turns: what of loopback's rate is
// left, and by how much the bytes cost more of this machine's processors.
func BenchmarkJoin(b *testing.B) {
	const size = 256 << 20
	source, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer source.Close()
	go serveAll(source, func(c net.Conn) {
		chunk := make([]byte, 128<<10)
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	between, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer between.Close()
	go serveAll(between, func(c net.Conn) {
		if there, err := net.Dial("tcp", source.Addr().String()); err == nil {
			Join(c, there)
			there.Close()
		}
	})
	var took, cost [2][]time.Duration
	b.SetBytes(size)
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			began, used := time.Now(), processors()
			c, err := net.Dial("tcp", []net.Listener{source, between}[i].Addr().String())
			require.NoError(b, err)
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 128<<10))
			require.NoError(b, err)
			require.EqualValues(b, size, n)
			c.Close()
			took[i], cost[i] = append(took[i], time.Since(began)), append(cost[i], processors()-used)
		}
	}
	b.ReportMetric(float64(slices.Min(took[0]))/float64(slices.Min(took[1])), "of-loopback")
	b.ReportMetric(float64(slices.Min(cost[1]))/float64(slices.Min(cost[0])), "times-its-cost")
}

func serveAll(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// processors is the time that this process has had of them.
func processors() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
