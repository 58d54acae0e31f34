package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft/nfttest"
)

// inNew runs f in a network namespace of its own, with a socket to its nftables. f
// runs on another goroutine: it must not call t.FailNow.
func inNew(t *testing.T, f func(*netlink.Socket) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	namespace, err := netns.New(func() error {
		s, err := netlink.Open(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(s)
	})
	if errdefs.IsUnavailable(err) {
		t.Skip(err)
	}
	require.NoError(t, err)
	namespace.Close()
}

// full is a table with each kind of rule that the kernel need load nothing for.
func full(family byte, own netip.Addr) *Table {
	t := New("ctor", family)
	t.Addresses("own")
	t.Prerouting("in")
	t.Rule("in", All(NotFrom(netlink.Loopback), []Expression{Accept()})...)
	t.Rule("in", All(t.ToOne("own"), []Expression{Accept()})...)
	t.Rule("in", All(To(netip.PrefixFrom(own, own.BitLen()-3)), []Expression{Accept()})...)
	t.Rule("in", All(Protocol(unix.IPPROTO_TCP), Opening(), Mark(0), []Expression{Reset()})...)
	t.Rule("in", Drop())
	t.Add("own", own)
	return t
}

// A table is made whole, also one of each family, and the kernel has of it what was
// said; addresses come into its set and go.
func TestTable(t *testing.T) {
	var before, after, restored string
	own4, own6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	other := netip.MustParseAddr("192.0.2.8")
	inNew(t, func(s *netlink.Socket) error {
		before = nfttest.Ruleset(t)
		if err := netlink.Missing(full(unix.NFPROTO_IPV4, own4).Commit(s), "nf_tables"); err != nil {
			return err
		}
		if err := full(unix.NFPROTO_IPV6, own6).Commit(s); err != nil {
			return err
		}
		after = nfttest.Ruleset(t)
		if err := Add(s, "ctor", "own", other); err != nil {
			return err
		}
		require.ErrorIs(t, Remove(s, "ctor", "own", netip.MustParseAddr("192.0.2.9")), unix.ENOENT)
		require.ErrorIs(t, Add(s, "none", "own", other), unix.ENOENT)
		if err := Remove(s, "ctor", "own", other); err != nil {
			return err
		}
		restored = nfttest.Ruleset(t)
		return nil
	})
	require.Empty(t, before)
	for _, family := range []int{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		require.Equal(t, 1+1+5+1, strings.Count(after, fmt.Sprintf("of family %d:", family)), "a table, a chain, rules and a set: %s", after)
	}
	require.Equal(t, after, restored)
}

// A table with an owner is the owner's to change, and goes with it.
func TestOwned(t *testing.T) {
	var again error
	var owned, flushed, left string
	inNew(t, func(*netlink.Socket) error {
		owner, err := netlink.Open(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		b := New("mine", unix.NFPROTO_IPV4)
		b.Owned()
		b.Input("in")
		b.Rule("in", All(From(netlink.Loopback), Answering(), []Expression{Accept()})...)
		b.Forward("through")
		b.Rule("through", All(Toward(netlink.Loopback), By(netip.MustParsePrefix("10.0.0.0/8")), []Expression{Drop()})...)
		b.Postrouting("out")
		b.Rule("out", All(NotToward(netlink.Loopback), []Expression{Masquerade()})...)
		if err := netlink.Missing(b.Commit(owner), "nft_ct", "nft_masq"); err != nil {
			return errors.Join(err, owner.Close())
		}
		owned = nfttest.Ruleset(t)
		_ = nfttest.Flush()
		flushed = nfttest.Ruleset(t)
		twice := New("mine", unix.NFPROTO_IPV4)
		twice.Owned()
		again = twice.Commit(owner)
		if err := owner.Close(); err != nil {
			return err
		}
		left = nfttest.Ruleset(t)
		return nil
	})
	require.Equal(t, 1+3+3, strings.Count(owned, "of family 2:"), "a table, chains and rules: %s", owned)
	require.Equal(t, owned, flushed)
	require.ErrorIs(t, again, unix.EEXIST)
	require.NotErrorIs(t, again, errdefs.ErrUnavailable)
	require.Empty(t, left)
}

// What the kernel refuses leaves nothing half made.
func TestRefused(t *testing.T) {
	var before, after string
	var again, unknown, late error
	at := netip.MustParseAddr("192.0.2.7")
	inNew(t, func(s *netlink.Socket) error {
		if err := netlink.Missing(full(unix.NFPROTO_IPV4, at).Commit(s), "nf_tables"); err != nil {
			return err
		}
		before = nfttest.Ruleset(t)
		again = full(unix.NFPROTO_IPV4, at).Commit(s)
		b := New("other", unix.NFPROTO_IPV4)
		b.Prerouting("in")
		b.Rule("in", func(b *netlink.Batch) { expression(b, "ctor_none").End() })
		unknown = netlink.Missing(b.Commit(s), "nft_ctor_none")
		c := New("third", unix.NFPROTO_IPV4)
		c.Rule("nowhere", Drop())
		late = c.Commit(s)
		after = nfttest.Ruleset(t)
		return nil
	})
	require.ErrorIs(t, again, unix.EEXIST)
	require.ErrorContains(t, again, "nftables: new table")
	require.ErrorIs(t, unknown, errdefs.ErrUnavailable)
	require.ErrorContains(t, unknown, "load it: modprobe nft_ctor_none")
	require.ErrorContains(t, late, "nftables: new rule")
	require.Equal(t, before, after)
	require.NotEmpty(t, after)
}

// A prefix is matched by its bits, whatever its length.
func TestTo(t *testing.T) {
	for prefix, want := range map[string]struct{ mask, value string }{
		"10.0.0.0/8":    {"", "\x0a"},
		"198.18.0.0/15": {"\xff\xfe", "\xc6\x12"},
		"192.0.2.1/32":  {"", "\xc0\x00\x02\x01"},
		"fe80::/10":     {"\xff\xc0", "\xfe\x80"},
	} {
		written := func(expressions ...Expression) string {
			var b netlink.Batch
			b.Begin("", 0, 0, nil)
			for _, add := range expressions {
				add(&b)
			}
			return string(b.Bytes()[unix.NLMSG_HDRLEN:])
		}
		all := written(To(netip.MustParsePrefix(prefix))...)
		require.Contains(t, all, written(equals([]byte(want.value))), prefix)
		require.Equal(t, want.mask != "", strings.Contains(all, written(and([]byte(want.mask)))), prefix)
	}
	require.Empty(t, To(netip.MustParsePrefix("0.0.0.0/0")), "all addresses are in it")
}
