package wayout

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/internal/netns"
)

// to is a dialer that connects to a listener of this program.
func to(l net.Listener) Dialer {
	return func(ctx context.Context, _, _ string, _ netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// served listens on the host, and serves each connection.
func served(b testing.TB, serve func(net.Conn)) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { l.Close() })
	go func() {
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
	}()
	return l
}

func median(d []time.Duration) time.Duration { return part(d, 50) }

// part is a percentile.
func part(d []time.Duration, of int) time.Duration {
	slices.Sort(d)
	return d[(len(d)-1)*of/100]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// A way out of a new namespace, and a new namespace alone, by turns: alone, and 32 at
// once, each of them. "ms-more" is what is over twice the namespace.
func BenchmarkOpen(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("it needs root")
	}
	for _, at := range []int{1, 32} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			run := func(open bool) time.Duration {
				var all errgroup.Group
				closers := make(chan io.Closer, 2*at)
				began := time.Now()
				for range at {
					all.Go(func() error {
						namespace, err := netns.New(func() error { return nil })
						if err != nil || !open {
							return err
						}
						closers <- namespace
						w, err := Open(namespace, nil, nil, nil)
						if err == nil {
							closers <- w
						}
						return err
					})
				}
				err := all.Wait()
				took := time.Since(began)
				skipUnavailable(b, err)
				close(closers)
				var opened []io.Closer
				for c := range closers {
					opened = append(opened, c)
				}
				for _, c := range slices.Backward(opened) { // a way before its namespace
					require.NoError(b, c.Close())
				}
				return took / time.Duration(at)
			}
			var took [2][]time.Duration
			for b.Loop() {
				for _, i := range rand.Perm(2) {
					took[i] = append(took[i], run(i == 1))
				}
			}
			bare, way := median(took[0]), median(took[1])
			b.ReportMetric(milliseconds(bare), "ms-bare")
			b.ReportMetric(milliseconds(way), "ms-way")
			b.ReportMetric(milliseconds(way-2*bare), "ms-more")
		})
	}
}

// The first connection by a way out; and one inside the same namespace, by turns,
// which tells what the host's load alone costs.
func BenchmarkFirst(b *testing.B) {
	l := served(b, func(net.Conn) {})
	var took [2][]time.Duration
	for b.Loop() {
		p := process(b)
		w, err := Open(p, to(l), nil, nil)
		skipUnavailable(b, err)
		inside, err := netns.Listen(p, "tcp", "127.0.0.1:80")
		require.NoError(b, err)
		for _, i := range rand.Perm(2) {
			began := time.Now()
			c, err := netns.Dial(b.Context(), p, "tcp", []string{"127.0.0.1:80", "192.0.2.80:80"}[i])
			require.NoError(b, err)
			took[i] = append(took[i], time.Since(began))
			c.Close()
		}
		inside.Close()
		require.NoError(b, w.Close())
	}
	for i, what := range []string{"inside", "way"} {
		b.ReportMetric(milliseconds(median(took[i])), "ms-median-"+what)
		b.ReportMetric(milliseconds(part(took[i], 99)), "ms-p99-"+what)
	}
}

// both measures something by way of a container's network, and on the host's
// loopback, by turns.
func both(b *testing.B, l net.Listener, measure func(net.Conn) time.Duration) (host, way []time.Duration) {
	p, _ := open(b, to(l))
	var took [2][]time.Duration
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			c, err := net.Dial("tcp", l.Addr().String())
			if i == 1 {
				c.Close()
				c, err = netns.Dial(b.Context(), p, "tcp", "192.0.2.80:80")
			}
			require.NoError(b, err)
			took[i] = append(took[i], measure(c))
			c.Close()
		}
	}
	return took[0], took[1]
}

func BenchmarkThroughput(b *testing.B) {
	const size = 128 << 20
	l := served(b, func(c net.Conn) {
		chunk := make([]byte, 128<<10)
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	b.SetBytes(size)
	host, way := both(b, l, func(c net.Conn) time.Duration {
		began := time.Now()
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 128<<10))
		require.NoError(b, err)
		return time.Since(began)
	})
	b.ReportMetric(float64(slices.Min(host))/float64(slices.Min(way)), "of-loopback")
	b.ReportMetric(float64(median(host))/float64(median(way)), "of-loopback-median")
}

func BenchmarkRoundTrip(b *testing.B) {
	l := served(b, func(c net.Conn) {
		one := make([]byte, 1)
		for {
			if _, err := c.Read(one); err != nil {
				return
			}
			_, _ = c.Write(one)
		}
	})
	host, way := both(b, l, func(c net.Conn) time.Duration {
		var all []time.Duration
		one := make([]byte, 1)
		for range 200 {
			began := time.Now()
			_, err := c.Write(one)
			require.NoError(b, err)
			_, err = c.Read(one)
			require.NoError(b, err)
			all = append(all, time.Since(began))
		}
		return median(all)
	})
	b.ReportMetric(float64(slices.Min(way))/float64(slices.Min(host)), "times-loopback")
}
