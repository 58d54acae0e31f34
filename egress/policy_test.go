package egress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

func TestRules(t *testing.T) {
	for _, test := range []struct {
		rule     string
		yes, not []string
	}{
		{"example.org", []string{"example.org:80", "EXAMPLE.org.:1"}, []string{"www.example.org:80", "example.org.evil.test:80", "badexample.org:80"}},
		{"Example.ORG.:443", []string{"example.org:443"}, []string{"example.org:80"}},
		{"*.example.org", []string{"a.example.org:80", "a.b.example.org:80"}, []string{"example.org:80", "badexample.org:80", ".evil.test:80"}},
		{"*.example.org:443", []string{"a.example.org:443"}, []string{"a.example.org:80"}},
		{"*", []string{"x:1", "192.0.2.1:1", "[2001:db8::1]:1"}, nil},
		{"*:25", []string{"x:25"}, []string{"x:26"}},
		{"192.0.2.7", []string{"192.0.2.7:1", "[::ffff:192.0.2.7]:1"}, []string{"192.0.2.8:1", "x:1"}},
		{"10.1.2.3/8:5432", []string{"10.9.9.9:5432"}, []string{"10.9.9.9:80", "11.0.0.1:5432"}},
		{"2001:db8::1", []string{"[2001:db8::1]:80", "[2001:db8::1%eth0]:80"}, []string{"[2001:db8::2]:80"}},
		{"[2001:db8::/32]:443", []string{"[2001:db8::2]:443"}, []string{"[2001:db8::2]:80", "[2001:db9::2]:443"}},
	} {
		r, err := parse(test.rule)
		require.NoError(t, err, test.rule)
		for _, a := range test.yes {
			require.True(t, r.matches(a), "%s matches %s", test.rule, a)
		}
		for _, a := range append(test.not, "", "nonsense", ":") {
			require.False(t, r.matches(a), "%s does not match %q", test.rule, a)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, rule := range []string{
		"", ":80", "a b", "example.org:0", "example.org:65536", "example.org:http", "-x.org", "x-.org", "a..b",
		"*example.org", "a.*.org", "**", "*.", "1.2.3", "10.0.0.0/33", "[::1", "[::1]80", "http://example.org", "exa\nmple.org",
		strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 127) + "org", "ex\x00.org", "日本.example",
	} {
		_, err := parse(rule)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%q", rule)
		for _, d := range []Dialer{Allow("example.org", rule), Deny(rule)(Public), Mux{rule: Public}.Dial, Record(io.Discard, Limit(Allow(rule), Bounds{})), Mux{"x": Allow(rule)}.Dial} {
			require.ErrorIs(t, Check(d), errdefs.ErrInvalidArgument, "%q", rule)
		}
		_, err = Allow("*", rule)(t.Context(), "tcp", "192.0.2.1:1")
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "nothing is allowed by half a policy")
		_, err = Deny(rule)(never(t))(t.Context(), "tcp", "192.0.2.1:1")
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
}

func TestClosed(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "fe80::1", "fe80::1%lo", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1",
		"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "fd00:ec2::254", "fc00::1", "fec0::1", "198.18.0.1", "192.0.0.8",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:1::",
	} {
		require.NotEmpty(t, closed(netip.MustParseAddr(a), nil), a)
	}
	for _, a := range []string{"1.1.1.1", "192.0.2.1", "::ffff:1.1.1.1", "2606:4700::1111"} {
		require.Empty(t, closed(netip.MustParseAddr(a), nil), a)
	}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, a := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "::ffff:127.0.0.1"} {
		require.NotEmpty(t, closed(netip.MustParseAddr(a), all), "%s is never opened", a)
	}
	require.Empty(t, closed(netip.MustParseAddr("10.0.0.1"), all))
	own, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, o := range own {
		require.NotEmpty(t, closed(netip.MustParsePrefix(o.String()).Addr(), all), "%s is the host's own", o)
	}
}

// resolver answers every name with the addresses.
func resolver(t *testing.T, answers ...[4]byte) *net.Resolver {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				for _, a := range answers {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: a}})
				}
			}
			out, _ := m.Pack()
			_, _ = p.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", p.LocalAddr().String())
	}}
}

// A name that leads to the host leads nowhere, whichever policy allowed it.
func TestRebinding(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	before := net.DefaultResolver
	net.DefaultResolver = resolver(t, [4]byte{127, 0, 0, 1}, [4]byte{169, 254, 169, 254}, [4]byte{0, 0, 0, 0})
	defer func() { net.DefaultResolver = before }()

	for _, host := range []string{"api.example.com", "127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254"} {
		at := net.JoinHostPort(host, port)
		for name, d := range map[string]Dialer{"Public": Public, "Allow": Allow("*"), "by name": Allow("api.example.com", host), "by address": Allow("*", "127.0.0.0/8", "::/0", "0.0.0.0/0")} {
			_, err := d(t.Context(), "tcp", at)
			require.ErrorIs(t, err, ErrRefused, "%s %s", name, at)
		}
	}
	_, err = Allow("api.example.com")(t.Context(), "tcp", "other.example.com:"+port)
	require.ErrorIs(t, err, ErrRefused)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "api.example.com:"+port) // the control
	require.NoError(t, err)
	c.Close()
}

func TestMux(t *testing.T) {
	var got string
	say := func(what string) Dialer {
		return func(context.Context, string, string) (net.Conn, error) { got = what; return nil, io.EOF }
	}
	m := Mux{
		"*": say("all"), "*:25": nil, "*.org": say("org"), "*.example.org": say("below"), "db.example.org": say("db"), "db.example.org:5432": say("postgres"),
		"10.0.0.0/8": say("ten"), "10.1.0.0/16": say("ten one"), "10.1.2.3": say("one"),
	}
	for address, want := range map[string]string{
		"x.test:1": "all", "x.org:1": "org", "a.example.org:1": "below", "db.example.org:1": "db", "DB.example.org:5432": "postgres",
		"10.9.9.9:1": "ten", "10.1.9.9:1": "ten one", "10.1.2.3:1": "one", "192.0.2.1:1": "all",
	} {
		_, err := m.Dial(t.Context(), "tcp", address)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, got, address)
	}
	_, err := m.Dial(t.Context(), "tcp", "x.test:25")
	require.ErrorIs(t, err, ErrRefused)
	_, err = Mux{"x": Public}.Dial(t.Context(), "tcp", "y:1")
	require.ErrorIs(t, err, ErrRefused)
	_, err = Mux(nil).Dial(t.Context(), "tcp", "y:1")
	require.ErrorIs(t, err, ErrRefused)
}

func TestDeny(t *testing.T) {
	d := Deny("*.tracker.test", "192.0.2.0/24", "*:25")(func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF })
	for _, a := range []string{"a.tracker.test:80", "192.0.2.9:80", "mail.test:25"} {
		_, err := d(t.Context(), "tcp", a)
		require.ErrorIs(t, err, ErrRefused, a)
	}
	_, err := d(t.Context(), "tcp", "tracker.test:80")
	require.ErrorIs(t, err, io.EOF)
}

func TestRecord(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer s.Close()
	var log bytes.Buffer
	d := Record(&log, Mux{"here.test:80": to(s)}.Dial)
	c := client(t, d, authority(t), false)
	resp, err := c.Post("http://here.test/", "text/plain", strings.NewReader("hello"))
	require.Equal(t, "hello", body(t, resp, err))
	_, err = c.Get("http://elsewhere.test/")
	require.ErrorIs(t, err, ErrRefused)
	c.CloseIdleConnections()
	var entries []Decision
	for dec := json.NewDecoder(&log); ; {
		var e Decision
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		}
		entries = append(entries, e)
	}
	require.Len(t, entries, 2)
	require.Equal(t, "elsewhere.test:80", entries[0].Address)
	require.Contains(t, entries[0].Reason, "no key of the Mux")
	require.Equal(t, Refused, entries[0].Verdict)
	require.Equal(t, "c1", entries[1].Container)
	require.Positive(t, entries[1].Sent)
	require.Positive(t, entries[1].Received)
	require.Equal(t, Allowed, entries[1].Verdict)
	require.Equal(t, s.Listener.Addr().String(), entries[1].Remote)
}

// A decision is told when it is made, and its end when that is.
func TestWatch(t *testing.T) {
	var got []Decision
	there := func(_ context.Context, _, address string) (net.Conn, error) {
		if address == "down.test:1" {
			return nil, io.ErrUnexpectedEOF
		}
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(there, there) }()
		return here, nil
	}
	d := Watch(Mux{"up.test": there, "down.test": there}.Dial, func(e Decision) { got = append(got, e) })
	ctx := WithSource(t.Context(), Source{Container: "c1"})
	for _, a := range []string{"no.test:1", "down.test:1"} {
		_, err := d(ctx, "tcp", a)
		require.Error(t, err)
	}
	c, err := d(ctx, "tcp", "up.test:1")
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, []Verdict{Refused, Failed, Allowed}, []Verdict{got[0].Verdict, got[1].Verdict, got[2].Verdict})
	require.Equal(t, []bool{true, true, false}, []bool{got[0].Ended, got[1].Ended, got[2].Ended})
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 3))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_ = c.Close()
	require.Len(t, got, 4)
	require.True(t, got[3].Ended)
	require.EqualValues(t, 5, got[3].Sent)
	require.EqualValues(t, 3, got[3].Received)
	require.Equal(t, "c1", got[3].Container)
	require.Equal(t, "up.test:1", got[3].Address)
}

func TestLimit(t *testing.T) {
	pipe := func(context.Context, string, string) (net.Conn, error) { c, _ := net.Pipe(); return c, nil }
	d := Limit(pipe, Bounds{Connections: 2})
	var open []net.Conn
	for range 2 {
		c, err := d(t.Context(), "tcp", "x:1")
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err := d(t.Context(), "tcp", "x:1")
	require.ErrorIs(t, err, ErrRefused)
	require.NoError(t, open[0].Close())
	_ = open[0].Close() // twice gives no place twice
	_, err = d(t.Context(), "tcp", "x:1")
	require.NoError(t, err)
	_, err = d(t.Context(), "tcp", "x:1")
	require.ErrorIs(t, err, ErrRefused)

	failing := Limit(func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }, Bounds{Connections: 1})
	for range 3 {
		_, err := failing(t.Context(), "tcp", "x:1")
		require.ErrorIs(t, err, io.EOF, "a connection that was not made takes no place")
	}
}

// A wait for one's turn ends with the connection.
func TestLimitClose(t *testing.T) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, there) }()
	d := Limit(func(context.Context, string, string) (net.Conn, error) { return here, nil }, Bounds{BytesPerSecond: 1})
	c, err := d(t.Context(), "tcp", "x:1")
	require.NoError(t, err)
	n, err := c.Write(make([]byte, 64<<10)) // what may come at once
	require.NoError(t, err)
	require.Equal(t, 64<<10, n)
	done := make(chan error)
	go func() { _, err := c.Write(make([]byte, 64<<10)); done <- err }()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
}
