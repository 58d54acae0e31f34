package network_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/network"
)

// A container from Run to Close, in a network and in none, by turns: alone, and 32
// at once. What a network adds is in "ms-more" for each of them.
func BenchmarkRun(b *testing.B) {
	for _, at := range []int{1, 32} {
		b.Run(strconv.Itoa(at), func(b *testing.B) {
			n := open(b, network.Config{})
			img := busybox(b)
			run := func(in container.Network) time.Duration {
				var all errgroup.Group
				started := make([]*container.Container, at)
				began := time.Now()
				for i := range at {
					all.Go(func() (err error) {
						started[i], err = img.Run(b.Context(), container.Config{Network: in, Args: []string{"sleep", "1000"}})
						return err
					})
				}
				require.NoError(b, all.Wait())
				took := time.Since(began)
				for _, c := range started {
					all.Go(c.Close)
				}
				require.NoError(b, all.Wait())
				return took
			}
			var took [2][]time.Duration
			for b.Loop() {
				for _, i := range rand.Perm(2) {
					took[i] = append(took[i], run([]container.Network{{}, n.Join()}[i]))
				}
			}
			none, some := median(took[0]), median(took[1])
			b.ReportMetric(milliseconds(none), "ms-none")
			b.ReportMetric(milliseconds(some-none)/float64(at), "ms-more")
			b.ReportMetric(milliseconds(slices.Min(took[1])-slices.Min(took[0]))/float64(at), "ms-more-min")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// The first connection of a container to another, as soon as it is started: by
// name, through the container's resolver. The longest counts.
func BenchmarkFirstConnection(b *testing.B) {
	n := open(b, network.Config{})
	hub := idle(b, n.Join("hub"))
	serve(b, hub, 80, "hello")
	var took []time.Duration
	for b.Loop() {
		c, err := busybox(b).Run(b.Context(), container.Config{Network: n.Join(), Args: []string{"sleep", "1000"}})
		require.NoError(b, err)
		began := time.Now()
		conn, err := dial(b.Context(), c, "hub", 80)
		require.NoError(b, err)
		took = append(took, time.Since(began))
		conn.Close()
		require.NoError(b, c.Close())
	}
	slices.Sort(took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "ms-median")
	b.ReportMetric(milliseconds(took[len(took)-1]), "ms-max")
}

// Two hundred containers in one network: how long after its start each is found by
// name, and connected to.
func BenchmarkTwoHundred(b *testing.B) {
	for b.Loop() {
		n := open(b, network.Config{})
		hub := idle(b, n.Join("hub"))
		var took []time.Duration
		for i := range 200 {
			c := idle(b, n.Join("c"+strconv.Itoa(i)))
			began := time.Now()
			l, err := c.Listen(b.Context(), "tcp", ":80")
			require.NoError(b, err)
			go answer(l, "hello")
			conn, err := dial(b.Context(), hub, "c"+strconv.Itoa(i), 80)
			require.NoError(b, err)
			conn.Close()
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(milliseconds(took[len(took)/2]), "ms-median")
		b.ReportMetric(milliseconds(took[len(took)-1]), "ms-max")
	}
}

// dial looks a name up in a container, as a process there does, and connects.
func dial(ctx context.Context, c *container.Container, name string, port uint16) (net.Conn, error) {
	resolver, err := c.Dial(ctx, "udp", "198.18.0.1:53")
	if err != nil {
		return nil, err
	}
	defer resolver.Close()
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	query, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := resolver.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 1000)
	size, err := resolver.Read(buf)
	if err != nil {
		return nil, err
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf[:size]); err != nil {
		return nil, err
	}
	if len(m.Answers) == 0 {
		return nil, &net.DNSError{Err: m.RCode.String(), Name: name}
	}
	at := netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A)
	return c.Dial(ctx, "tcp", netip.AddrPortFrom(at, port).String())
}

// Bytes out of a published port of a container in a network, and over the host's
// loopback, by turns.
func BenchmarkPublished(b *testing.B) {
	const size = 64 << 20
	n := open(b, network.Config{})
	c := idle(b, n.Join(), func(cfg *container.Config) { cfg.Publish = []container.Port{{Container: 80}} })
	inside, err := c.Listen(b.Context(), "tcp", ":80")
	require.NoError(b, err)
	here, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer here.Close()
	for _, l := range []net.Listener{inside, here} {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					chunk := make([]byte, 128<<10)
					for range size / len(chunk) {
						if _, err := conn.Write(chunk); err != nil {
							return
						}
					}
				}()
			}
		}()
	}
	read := func(address string) time.Duration {
		conn, err := net.Dial("tcp", address)
		require.NoError(b, err)
		defer conn.Close()
		began := time.Now()
		got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 128<<10))
		require.NoError(b, err)
		require.EqualValues(b, size, got)
		return time.Since(began)
	}
	var took [2][]time.Duration
	b.SetBytes(size)
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			took[i] = append(took[i], read([]string{c.Addr(80).String(), here.Addr().String()}[i]))
		}
	}
	b.ReportMetric(float64(median(took[1]))/float64(median(took[0])), "of-loopback")
}
