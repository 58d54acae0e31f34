package network_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/network"
)

// Containers of a network find each other by name, id and alias, in any case of
// letters, by IPv4 and IPv6; the host's own network is as it was.
func TestNames(t *testing.T) {
	t.Parallel()
	before := outside(t)
	n := open(t, network.Config{})
	db := idle(t, n.Join("primary", "postgres.local"), named("names-db"))
	web := idle(t, n.Join())
	serve(t, db, 5432, "the database\n")
	info, err := db.Info(t.Context())
	require.NoError(t, err)
	at := info.Addresses[n.Name()]
	require.Len(t, at, 2)
	for _, name := range []string{"names-db", "NAMES-DB", db.ID(), "primary", "Primary", "postgres.local", "names-db." + n.Name(), at[0].String(), at[1].String()} {
		require.Equal(t, "the database\n", say(t, web, "nc "+name+" 5432 </dev/null"), name)
	}
	for _, a := range at {
		require.Contains(t, say(t, web, "busybox nslookup primary"), a.String())
	}
	require.Contains(t, say(t, db, "cat /etc/hosts"), at[0].String()+"\tnames-db\n")
	require.Contains(t, say(t, web, "nc nobody 5432 </dev/null"), "bad address")
	require.Contains(t, say(t, web, "nc 192.0.2.1 80 </dev/null"), "No route to host")
	require.Equal(t, before, outside(t))
}

// A name is found as long as its container runs, and leads to the one that has it
// now.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	n := open(t, network.Config{})
	web := idle(t, n.Join())
	db := idle(t, n.Join("db"))
	serve(t, db, 80, "first")
	require.Equal(t, "first", say(t, web, "nc db 80 </dev/null"))
	was, err := db.Info(t.Context())
	require.NoError(t, err)

	require.NoError(t, db.Signal(t.Context(), syscall.SIGKILL))
	require.Error(t, db.Wait(t.Context()))
	require.Contains(t, say(t, web, "nc db 80 </dev/null"), "bad address")
	require.Contains(t, say(t, web, "nc "+was.Addresses[n.Name()][0].String()+" 80 </dev/null"), "No route to host")
	require.NoError(t, db.Start(t.Context()))
	serve(t, db, 80, "again")
	require.Equal(t, "again", say(t, web, "nc db 80 </dev/null"))
	is, err := db.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, was.Addresses, is.Addresses)

	_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join("db")})
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)
	require.NoError(t, db.Close())
	other := idle(t, n.Join("DB"))
	serve(t, other, 80, "other")
	require.Equal(t, "other", say(t, web, "nc db 80 </dev/null"))

	require.NoError(t, other.Rename(t.Context(), "come-and-go-renamed"))
	require.Equal(t, "other", say(t, web, "nc come-and-go-renamed 80 </dev/null"))
	require.Equal(t, "other", say(t, web, "nc "+other.ID()+" 80 </dev/null"))
	require.ErrorIs(t, web.Rename(t.Context(), "db"), ctor.ErrAlreadyExists)
	require.Equal(t, web.ID(), web.Name())
}

// A container can be in several networks, and no more than its own: what is in
// another network is out of reach, by name and by address.
func TestSeveral(t *testing.T) {
	t.Parallel()
	front, back := open(t, network.Config{}), open(t, network.Config{})
	proxy := idle(t, front.Join("proxy").And(back.Join("proxy")))
	web, db := idle(t, front.Join("web")), idle(t, back.Join("db"))
	for _, c := range []*container.Container{proxy, web, db} {
		serve(t, c, 80, "hello")
	}
	require.Equal(t, "hello", say(t, proxy, "nc web 80 </dev/null"))
	require.Equal(t, "hello", say(t, proxy, "nc db 80 </dev/null"))
	require.Equal(t, "hello", say(t, web, "nc proxy 80 </dev/null"))
	require.Equal(t, "hello", say(t, db, "nc proxy 80 </dev/null"))
	require.Contains(t, say(t, web, "nc db 80 </dev/null"), "bad address")
	info, err := db.Info(t.Context())
	require.NoError(t, err)
	for _, at := range info.Addresses[back.Name()] {
		require.Contains(t, say(t, web, "nc "+at.String()+" 80 </dev/null"), "o route to host")
	}
}

// Connect and Disconnect change the networks of a container that runs, or that
// does not.
func TestConnect(t *testing.T) {
	t.Parallel()
	a, b := open(t, network.Config{}), open(t, network.Config{})
	x, y := idle(t, a.Join("x")), idle(t, b.Join("y"))
	none := idle(t, container.Network{})
	serve(t, y, 80, "y")
	require.Contains(t, say(t, x, "nc y 80 </dev/null"), "bad address")
	require.NoError(t, b.Connect(t.Context(), x, "late"))
	require.Equal(t, "y", say(t, x, "nc y 80 </dev/null"))
	serve(t, x, 81, "x")
	require.Equal(t, "x", say(t, y, "nc late 81 </dev/null"))
	require.Equal(t, "x", say(t, x, "nc late 81 </dev/null"), "itself, by its own address")
	require.ErrorIs(t, b.Connect(t.Context(), x), ctor.ErrAlreadyExists)
	require.NoError(t, b.Disconnect(t.Context(), x))
	require.Contains(t, say(t, x, "nc y 80 </dev/null"), "bad address")
	require.Contains(t, say(t, y, "nc late 81 </dev/null"), "bad address")
	require.ErrorIs(t, b.Disconnect(t.Context(), x), ctor.ErrNotFound)

	// By address alone, where there is no resolv.conf.
	require.NoError(t, b.Connect(t.Context(), none))
	info, err := y.Info(t.Context())
	require.NoError(t, err)
	for _, at := range info.Addresses[b.Name()] {
		require.Equal(t, "y", say(t, none, "nc "+at.String()+" 80 </dev/null"))
	}

	stopped, err := busybox(t).New(t.Context(), container.Config{Args: []string{"sh", "-c", "nc y 80"}, Network: a.Join()})
	require.NoError(t, err)
	defer stopped.Close()
	require.NoError(t, b.Connect(t.Context(), stopped))
	for range 2 {
		require.NoError(t, stopped.Start(t.Context()))
		require.NoError(t, stopped.Wait(t.Context()))
	}
	require.NoError(t, b.Disconnect(t.Context(), stopped))
	require.NoError(t, stopped.Start(t.Context()))
	require.Error(t, stopped.Wait(t.Context()))

	require.ErrorIs(t, b.Connect(t.Context(), idle(t, container.Host())), ctor.ErrInvalid)
	closed := idle(t, container.Network{})
	require.NoError(t, closed.Close())
	require.ErrorIs(t, b.Connect(t.Context(), closed), ctor.ErrNotFound)
}

// The way out of a network is its containers', and tells who asks; a container's
// own comes first.
func TestOut(t *testing.T) {
	t.Parallel()
	says := func(text string) egress.Dialer {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			go func() {
				defer l.Close()
				if there, err := l.Accept(); err == nil {
					fmt.Fprintf(there, "%s %s", text, address)
					there.Close()
				}
			}()
			var d net.Dialer
			return d.DialContext(ctx, network, l.Addr().String())
		}
	}
	n, inner := open(t, network.Config{Out: says("the network's")}), open(t, network.Config{})
	a := idle(t, n.Join())
	b := idle(t, n.Join("b").And(container.Out(says("its own"))))
	c := idle(t, inner.Join("c"))
	require.Equal(t, "the network's example.org:80", say(t, a, "nc example.org 80 </dev/null"))
	require.Equal(t, "its own example.org:80", say(t, b, "nc example.org 80 </dev/null"))
	require.Contains(t, say(t, c, "nc example.org 80 </dev/null"), "bad address")
	serve(t, b, 80, "b")
	require.Equal(t, "b", say(t, a, "nc b 80 </dev/null"), "a neighbour's name is not the way out's")

	require.ErrorIs(t, a.SetOut(t.Context(), says("its own")), ctor.ErrInvalid)
	require.NoError(t, b.SetOut(t.Context(), func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := b.SetOut(ctx, says("the third")); err != nil { // a dialer may change things too
			return nil, err
		}
		return says("the second")(ctx, network, address)
	}))
	require.Equal(t, "the second example.org:80", say(t, b, "nc example.org 80 </dev/null"))
	require.Equal(t, "the third example.org:80", say(t, b, "nc example.org 80 </dev/null"))
	require.Equal(t, "b", say(t, a, "nc b 80 </dev/null"))
	require.NoError(t, b.SetOut(t.Context(), nil))
	require.Contains(t, say(t, b, "nc example.org 80 </dev/null"), "Connection refused")

	require.NoError(t, n.Connect(t.Context(), c))
	require.Equal(t, "the network's example.org:80", say(t, c, "nc example.org 80 </dev/null"))
	require.NoError(t, n.Disconnect(t.Context(), c))
	require.Contains(t, say(t, c, "nc example.org 80 </dev/null"), "bad address")
}

// This program is in the network too.
func TestProgram(t *testing.T) {
	t.Parallel()
	n := open(t, network.Config{})
	c := idle(t, n.Join("c"))
	serve(t, c, 80, "c")
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		conn, err := n.Dial(t.Context(), network, "c:80")
		require.NoError(t, err)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "c", string(got))
		conn.Close()
	}
	_, err := n.Dial(t.Context(), "tcp", "c:81")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = n.Dial(t.Context(), "tcp", "d:81")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
	_, err = n.Dial(t.Context(), "unix", "/x")
	require.ErrorIs(t, err, net.UnknownNetworkError("unix"))

	billing, err := n.Listen(t.Context(), "tcp", "billing:80")
	require.NoError(t, err)
	go answer(billing, "paid")
	secure, err := n.Listen(t.Context(), "tcp", "billing:443")
	require.NoError(t, err)
	go answer(secure, "secure")
	require.Equal(t, "paid", say(t, c, "nc billing 80 </dev/null"))
	require.Equal(t, "secure", say(t, c, "nc billing 443 </dev/null"))
	_, err = n.Listen(t.Context(), "tcp", "other:80")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = n.Listen(t.Context(), "tcp", "c:81")
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)
	_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join("billing")})
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)
	require.NoError(t, billing.Close())
	require.Contains(t, say(t, c, "nc billing 80 </dev/null"), "refused")
	require.Equal(t, "secure", say(t, c, "nc billing 443 </dev/null"))
	require.NoError(t, secure.Close())
	require.Contains(t, say(t, c, "nc billing 443 </dev/null"), "bad address")

	udp, err := n.ListenPacket(t.Context(), "udp", "time:123")
	require.NoError(t, err)
	go func() {
		buf := make([]byte, 100)
		_, from, err := udp.ReadFrom(buf)
		if err == nil {
			_, _ = udp.WriteTo([]byte("now"), from)
		}
	}()
	require.Contains(t, say(t, c, "busybox nslookup time"), own(n).String())
	asked, err := c.Dial(t.Context(), "udp", netip.AddrPortFrom(own(n), 123).String())
	require.NoError(t, err)
	defer asked.Close()
	_, err = asked.Write([]byte("when?"))
	require.NoError(t, err)
	buf := make([]byte, 10)
	size, err := asked.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "now", string(buf[:size]))
}

// own is this program's first address in a network.
func own(n *network.Network) netip.Addr { return n.Info().Subnets[0].Addr().Next() }

// Bad input is refused, and nothing is half made.
func TestBad(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	n := open(t, network.Config{Name: "bad-taken", Subnets: prefixes("10.77.0.0/16", "fd00:77::/64"), Labels: map[string]string{"a": "b"}})
	require.Equal(t, network.Info{Name: "bad-taken", Subnets: prefixes("10.77.0.0/16", "fd00:77::/64"), Labels: map[string]string{"a": "b"}, Internal: true}, n.Info())
	for what, cfg := range map[string]network.Config{
		"overlaps one of network \"bad-taken\"": {Subnets: prefixes("10.77.3.0/24")},
		"overlaps one":                          {Subnets: prefixes("10.78.0.0/24", "fd00:77::/96")},
		"10.1.2.0/24 is meant":                  {Subnets: prefixes("10.1.2.3/24")},
		"at most one of IPv4":                   {Subnets: prefixes("10.1.2.0/24", "10.1.3.0/24")},
		"at most /30":                           {Subnets: prefixes("10.1.2.0/31")},
		"at most /126":                          {Subnets: prefixes("fd00:1::/127")},
		"too large":                             {Subnets: prefixes("0.0.0.0/0")},
		"can't be a container's":                {Subnets: prefixes("127.0.0.0/16")},
		"can't be a container's ":               {Subnets: prefixes("fe80::/64")},
		"stands for the names":                  {Subnets: prefixes("198.19.0.0/24")},
		"it is none":                            {Subnets: []netip.Prefix{{}}},
		"name":                                  {Name: "a b"},
		"":                                      {Out: egress.Allow("a b")},
	} {
		_, err := network.New(t.Context(), e, cfg)
		require.ErrorIs(t, err, ctor.ErrInvalid, what)
		require.ErrorContains(t, err, strings.TrimSpace(what))
	}
	_, err := network.New(t.Context(), e, network.Config{Name: "bad-taken"})
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)

	for _, test := range []struct {
		n    container.Network
		want error
	}{
		{n.Join("a b"), ctor.ErrInvalid}, {n.Join(""), ctor.ErrInvalid}, {n.Join("10.0.0.1"), ctor.ErrInvalid},
		{n.Join("localhost"), ctor.ErrInvalid}, {n.Join(strings.Repeat("a", 64)), ctor.ErrInvalid}, {n.Join("a..b"), ctor.ErrInvalid},
		{n.Join().And(n.Join()), ctor.ErrAlreadyExists}, {n.Join().And(container.Host()), ctor.ErrInvalid},
		{container.Share(nil), ctor.ErrInvalid}, {container.Out(egress.Public).And(container.Out(egress.Public)), ctor.ErrInvalid},
	} {
		_, err := busybox(t).New(t.Context(), container.Config{Network: test.n})
		require.ErrorIs(t, err, test.want)
	}
	_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join(), Detach: true})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.Empty(t, n.Info().Containers)
}

func prefixes(all ...string) (p []netip.Prefix) {
	for _, s := range all {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// A network is removed when nothing is in it.
func TestRemove(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	n, err := network.New(t.Context(), e, network.Config{Name: "to-remove"})
	require.NoError(t, err)
	c := idle(t, n.Join("x"), named("in-it"))
	found, err := network.Get(t.Context(), e, "to-remove")
	require.NoError(t, err)
	require.Equal(t, n.Info(), found.Info())
	require.Equal(t, []string{"x"}, found.Info().Containers[0].Aliases)
	list, err := network.List(t.Context(), e)
	require.NoError(t, err)
	require.Contains(t, list, n)
	err = n.Remove(t.Context())
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "in-it")
	require.NoError(t, c.Close())
	l, err := n.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	require.NoError(t, n.Remove(t.Context()))
	require.NoError(t, n.Remove(t.Context()))
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = network.Get(t.Context(), e, "to-remove")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join()})
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = n.Dial(t.Context(), "tcp", "x:80")
	require.Error(t, err)
	_, err = n.Dial(t.Context(), "tcp", "10.208.0.2:80")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = n.Listen(t.Context(), "tcp", ":0")
	require.ErrorIs(t, err, ctor.ErrNotFound)
}
