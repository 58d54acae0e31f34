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
	"github.com/ctorhq/ctor/internal/netns"
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

// poured is how many bytes a connection to pour gives.
const poured = 64 << 20

func pour(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			chunk := make([]byte, 128<<10)
			for range poured / len(chunk) {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}()
	}
}

// byTurns reads what is poured from each of some connections, by turns.
func byTurns(b *testing.B, dials ...func() (net.Conn, error)) [][]time.Duration {
	took := make([][]time.Duration, len(dials))
	buf := make([]byte, 128<<10)
	b.SetBytes(poured)
	for b.Loop() {
		for _, i := range rand.Perm(len(dials)) {
			conn, err := dials[i]()
			require.NoError(b, err)
			began := time.Now()
			got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, buf)
			require.NoError(b, err)
			require.EqualValues(b, poured, got)
			took[i] = append(took[i], time.Since(began))
			conn.Close()
		}
	}
	return took
}

// share tells which part of a rate another one is: of the best runs, and of those in the
// middle.
func share(b *testing.B, what string, whole, part []time.Duration) {
	b.ReportMetric(float64(slices.Min(whole))/float64(slices.Min(part)), what)
	b.ReportMetric(float64(median(whole))/float64(median(part)), what+"-median")
}

func dialing(network, address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial(network, address) }
}

// Bytes out of a published port of a container in a network, and over the host's
// loopback, by turns.
func BenchmarkPublished(b *testing.B) {
	n := open(b, network.Config{})
	c := idle(b, n.Join(), func(cfg *container.Config) { cfg.Publish = []container.Port{{Container: 80}} })
	inside, err := c.Listen(b.Context(), "tcp", ":80")
	require.NoError(b, err)
	here, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer here.Close()
	go pour(inside)
	go pour(here)
	took := byTurns(b, dialing("tcp", here.Addr().String()), dialing("tcp", c.Addr(80).String()))
	share(b, "of-loopback", took[0], took[1])
}

// Bytes from a container in a masqueraded network to its host, beside the host's loopback;
// and from another host to a container, beside the host itself: by turns.
func BenchmarkMasquerade(b *testing.B) {
	if !onOwnHost(b) {
		return
	}
	there := another(b)
	passOn(b, "1")
	n := open(b, network.Config{Masquerade: true})
	c := idle(b, n.Join())
	inside, err := c.Listen(b.Context(), "tcp", ":80")
	require.NoError(b, err)
	here, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer here.Close()
	other, err := netns.Listen(there, "tcp", otherAddr+":80")
	require.NoError(b, err)
	defer other.Close()
	for _, l := range []net.Listener{inside, here, other} {
		go pour(l)
	}
	at := netip.AddrPortFrom(n.Info().Containers[0].Addresses[0], 80)
	took := byTurns(b, dialing("tcp", here.Addr().String()), dialing("tcp", at.String()),
		dialing("tcp", otherAddr+":80"), func() (net.Conn, error) { return c.Dial(b.Context(), "tcp", otherAddr+":80") })
	share(b, "of-loopback", took[0], took[1])
	share(b, "of-the-host", took[2], took[3])
}
