package wayout

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/ctorhq/ctor/internal/netns"
)

// zone is what the program's own resolver knows, for the time of a test: it is
// asked by the queries that package net sends.
type zone struct {
	mu    sync.Mutex
	asked []string
	known map[dnsmessage.Type][]dnsmessage.ResourceBody // of every name that begins with "known."
	hangs bool
}

func (z *zone) install(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe() // a stream: each message behind its length
		go z.serve(there)
		return here, nil
	}}
}

func (z *zone) serve(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b) != nil {
			return
		}
		q := m.Questions[0]
		z.mu.Lock()
		z.asked = append(z.asked, q.Type.String()+" "+q.Name.String())
		hangs := z.hangs
		z.mu.Unlock()
		if hangs {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		m.Response, m.Additionals = true, nil
		if strings.HasPrefix(q.Name.String(), "known.") {
			for _, body := range z.known[q.Type] {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: body})
			}
		} else {
			m.RCode = dnsmessage.RCodeNameError
		}
		out, _ := m.Pack()
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func openForwarding(t *testing.T, forwards Forwards, neighbours Neighbours) *box {
	b := start(t)
	var asked calls
	w, err := Open(b.File, echoes(&asked), forwards, neighbours)
	skipUnavailable(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return b
}

// What a name has beside addresses is looked up where the policy lets it.
func TestForwards(t *testing.T) {
	long := strings.Repeat("x", 700)
	z := &zone{known: map[dnsmessage.Type][]dnsmessage.ResourceBody{
		dnsmessage.TypeTXT: {&dnsmessage.TXTResource{TXT: []string{"v=1", "two"}}, &dnsmessage.TXTResource{TXT: pieces(long)}},
		dnsmessage.TypeMX:  {&dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName("mail.test.")}},
		dnsmessage.TypeSRV: {&dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 27017, Target: dnsmessage.MustNewName("db.test.")}},
		dnsmessage.TypeNS:  {&dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns.test.")}},
	}}
	z.install(t)
	b := openForwarding(t, func(_ context.Context, name string, from netip.AddrPort) bool {
		return from.IsValid() && strings.HasSuffix(name, ".good.test")
	}, nil)
	bodies := func(m dnsmessage.Message) (all []dnsmessage.ResourceBody) {
		for _, a := range m.Answers {
			all = append(all, a.Body)
		}
		return all
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, typ := range []dnsmessage.Type{dnsmessage.TypeMX, dnsmessage.TypeSRV, dnsmessage.TypeNS} {
			require.Equal(t, z.known[typ], bodies(ask(t, b.File, network, "Known.good.test.", typ)), typ)
		}
		unknown := ask(t, b.File, network, "x.good.test.", dnsmessage.TypeTXT)
		require.Empty(t, unknown.Answers)
		require.Equal(t, dnsmessage.RCodeSuccess, unknown.RCode)
	}
	// An answer that is too long for a datagram comes by TCP.
	cut := ask(t, b.File, "udp", "known.good.test.", dnsmessage.TypeTXT)
	require.True(t, cut.Truncated)
	require.Empty(t, cut.Answers)
	whole := bodies(ask(t, b.File, "tcp", "known.good.test.", dnsmessage.TypeTXT))
	require.Len(t, whole, 2)
	require.Equal(t, "v=1two", strings.Join(whole[0].(*dnsmessage.TXTResource).TXT, ""))
	require.Equal(t, long, strings.Join(whole[1].(*dnsmessage.TXTResource).TXT, ""))
	roomy := query("known.good.test.")
	roomy.Questions[0].Type = dnsmessage.TypeTXT
	var h dnsmessage.ResourceHeader
	require.NoError(t, h.SetEDNS0(4096, dnsmessage.RCodeSuccess, false))
	roomy.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	require.Len(t, exchange(t, b, roomy).Answers, 2, "with room for it")

	z.mu.Lock()
	z.asked = nil
	z.mu.Unlock()
	for name, typ := range map[string]dnsmessage.Type{
		"known.bad.test.": dnsmessage.TypeTXT, "known.good.test.": dnsmessage.Type(65), "localhost.": dnsmessage.TypeTXT,
		"LOCALHOST.": dnsmessage.TypeMX, "1.2.0.192.in-addr.arpa.": dnsmessage.TypeTXT, ".": dnsmessage.TypeNS, "a.good.test.": dnsmessage.TypeAAAA, "b.good.test.": dnsmessage.TypeALL,
	} {
		m := ask(t, b.File, "udp", name, typ)
		require.Empty(t, m.Answers, "%s of %s", typ, name)
		require.Equal(t, dnsmessage.RCodeSuccess, m.RCode, "%s of %s", typ, name)
	}
	require.Empty(t, z.asked)
}

// exchange sends a query as a datagram.
func exchange(t *testing.T, b *box, q *dnsmessage.Message) (m dnsmessage.Message) {
	c, err := netns.Dial(t.Context(), b.File, "udp", Resolver.String()+":53")
	require.NoError(t, err)
	defer c.Close()
	p, err := q.Pack()
	require.NoError(t, err)
	_, err = c.Write(p)
	require.NoError(t, err)
	buf := make([]byte, largest)
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := c.Read(buf)
	require.NoError(t, err)
	require.NoError(t, m.Unpack(buf[:n]))
	return m
}

// near are neighbours by their names.
type near map[string][]netip.Addr

func (n near) Own() []netip.Addr            { return nil }
func (n near) At(netip.Addr) (string, bool) { return "", false }
func (n near) Only() bool                   { return false }
func (n near) Lookup(name string) ([]netip.Addr, bool) {
	at, known := n[strings.ToLower(name)]
	return at, known
}

// A neighbour's name is not told to the outside, whatever is asked about it, also
// while the neighbour has no address.
func TestForwardsNoNeighbour(t *testing.T) {
	z := &zone{known: map[dnsmessage.Type][]dnsmessage.ResourceBody{dnsmessage.TypeTXT: {&dnsmessage.TXTResource{TXT: []string{"outside"}}}}}
	z.install(t)
	b := openForwarding(t, func(context.Context, string, netip.AddrPort) bool { return true },
		near{"known.db": {netip.MustParseAddr("10.99.0.2")}, "known.ended": nil})
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"known.db.", "KNOWN.db.", "known.ended."} {
			for _, typ := range []dnsmessage.Type{dnsmessage.TypeTXT, dnsmessage.TypeMX, dnsmessage.TypeSRV, dnsmessage.TypeNS, dnsmessage.TypeAAAA} {
				m := ask(t, b.File, network, name, typ)
				require.Empty(t, m.Answers, "%s of %s", typ, name)
				require.Equal(t, name == "known.ended.", m.RCode == dnsmessage.RCodeNameError, "%s of %s", typ, name)
			}
		}
		a := ask(t, b.File, network, "known.db.", dnsmessage.TypeA)
		require.Len(t, a.Answers, 1)
		require.Equal(t, &dnsmessage.AResource{A: [4]byte{10, 99, 0, 2}}, a.Answers[0].Body)
		require.Zero(t, a.Answers[0].Header.TTL, "neighbours come and go")
	}
	z.mu.Lock()
	require.Empty(t, z.asked)
	z.mu.Unlock()
	require.Len(t, ask(t, b.File, "udp", "known.test.", dnsmessage.TypeTXT).Answers, 1, "of the outside")
	require.Equal(t, dnsmessage.RCodeSuccess, ask(t, b.File, "udp", "known.test.", dnsmessage.TypeAAAA).RCode, "of the outside")
	z.mu.Lock()
	require.NotEmpty(t, z.asked)
	z.mu.Unlock()
}

// A resolver that hangs holds up no address, and a bounded number of lookups.
func TestForwardsHang(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the limit of a look-up, five seconds")
	}
	z := &zone{hangs: true}
	z.install(t)
	b := openForwarding(t, func(context.Context, string, netip.AddrPort) bool { return true }, nil)
	var all sync.WaitGroup
	failed := make(chan struct{}, 100)
	for range 3 * mostLookups {
		all.Go(func() {
			q := query("a.test.")
			q.Questions[0].Type = dnsmessage.TypeTXT
			if exchange(t, b, q).RCode == dnsmessage.RCodeServerFailure {
				failed <- struct{}{}
			}
		})
	}
	for range 2 * mostLookups {
		<-failed // at once
	}
	require.Len(t, ask(t, b.File, "udp", "a.test.", dnsmessage.TypeA).Answers, 1)
	all.Wait() // the others in their time
}
