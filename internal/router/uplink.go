package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft"
	"github.com/ctorhq/ctor/internal/unwind"
)

// outerMTU is the longest packet that leaves the network: what Ethernet carries.
const outerMTU = 1500

// An uplink leads from a router to the host, which passes on what comes by it.
//
// The containers may live for a moment longer than a program that is killed, and the link
// goes in the kernel's own time. So the router sends nothing out but what the gate, a
// table of its own namespace, has marked, and the gate goes before the host's table:
// nothing leaves with a container's address, or reaches the host, since there are no
// rules.
type uplink struct {
	outer int             // index on the host
	name  string          // of it
	gate  *netlink.Socket // which the gate goes with
	rules *netlink.Socket // which the host's table goes with, after all others
	links *netlink.Socket // in the host's namespace
}

// What the gate says: packets with the mark go by the table of routes that has the way
// out.
const (
	wayOut      = 1
	outboundTag = 0x63746f72
)

// newUplink chooses a number for the host's end, far from those that the kernel counts
// up: it lets us choose the other end's number only if we choose both.
func newUplink() *uplink {
	index := 1<<24 + rand.IntN(1<<30)
	return &uplink{outer: index, name: fmt.Sprintf("ctor%x", index)}
}

// Masquerade gives the network a way out that the host's kernel makes: by a link to
// the host, a route to the network's IPv4 subnet, and a table of nftables by which
// what leaves the network has the host's address. All three are the host's, and go
// when the router is closed or the program is killed. Containers that join afterwards
// have the way out.
//
// A host that does not pass packets on is errdefs.ErrUnavailable: its settings are
// not this package's to change. Nor is a host's firewall, which may drop what this
// table lets pass.
func (r *Router) Masquerade() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("masquerade: %w", err)
		}
	}()
	own, ok := r.own4()
	if !ok {
		return fmt.Errorf("the network has no subnet of IPv4: %w", errdefs.ErrInvalidArgument)
	}
	if err := passesOn(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.socket == nil {
		return os.ErrClosed
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	u := newUplink()
	if u.links, err = netlink.Open(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	undo.Close(u.links)
	inner := firstLink + int(links.Add(1))
	if err := u.connect(r.namespace, inner); err != nil {
		return err
	}
	undo.Push(u.cut)
	if u.rules, err = netlink.Open(unix.NETLINK_NETFILTER); err != nil {
		return err
	}
	undo.Close(u.rules)
	if err := u.guard(own.Masked()); err != nil {
		return err
	}
	if err := u.rules.Outlive(); err != nil {
		return err
	}
	// Not before there are rules.
	if err := u.links.Do(new(netlink.Batch).Lead(u.outer, own.Masked())); err != nil {
		return err
	}
	if err := netns.Within(r.namespace, u.open); err != nil {
		return err
	}
	undo.Close(u.gate)
	if err := r.socket.Do(lead(inner)); err != nil {
		return fmt.Errorf("way out: %w", err)
	}
	r.uplink = u
	return nil
}

// lead has the router send by the uplink what is marked, and what the program sends.
func lead(inner int) *netlink.Batch {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	return new(netlink.Batch).Up(inner).LeadIn(wayOut, inner, all).MarkedBy(outboundTag, wayOut).FromHere(wayOut)
}

// open makes the gate, on a thread that is in the router's namespace.
func (u *uplink) open() (err error) {
	if u.gate, err = netlink.Open(unix.NETLINK_NETFILTER); err != nil {
		return err
	}
	const table, chain = "gate", "outbound"
	t := nft.New(table, unix.NFPROTO_IPV4)
	t.Owned()
	t.Raw(chain)
	t.Rule(chain, nft.SetMark(outboundTag)...)
	if err := t.Commit(u.gate); err != nil {
		return errors.Join(err, u.gate.Close())
	}
	return nil
}

func (r *Router) hasUplink() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uplink != nil
}

// own4 is the router's own address of IPv4.
func (r *Router) own4() (netip.Prefix, bool) {
	for _, p := range r.own {
		if p.Addr().Is4() {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// passesOn finds out whether this program's own namespace passes packets on.
func passesOn() error {
	set, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err == nil && bytes.Equal(bytes.TrimSpace(set), []byte("0")) {
		err = fmt.Errorf("this host does not pass packets on: %w; have it do so: sysctl -w net.ipv4.ip_forward=1", errdefs.ErrUnavailable)
	}
	return err
}

// connect makes the link, whose end in the router has an index.
func (u *uplink) connect(router *os.File, inner int) error {
	address := net.HardwareAddr(binary.BigEndian.AppendUint32([]byte{0x02, 0x63}, uint32(u.outer)))
	var b netlink.Batch
	b.Veth(netlink.End{Name: u.name, Index: u.outer}, netlink.End{Name: "host", Index: inner}, router, address, outerMTU)
	if err := u.links.Do(&b); err != nil {
		return netlink.Missing(err, "veth")
	}
	// While it has no carrier it has given itself no address of IPv6.
	if err := u.links.Do(new(netlink.Batch).Plain(u.outer)); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return errors.Join(err, u.cut())
	}
	return nil
}

// guard makes the host's rules. What comes from the network goes on to others, with
// the host's address, and never to the host itself or to the addresses of its own
// links, where clouds have their metadata services; and nothing opens a connection into
// the network but the host.
func (u *uplink) guard(subnet netip.Prefix) error {
	const in, through, out = "input", "forward", "postrouting"
	link := uint32(u.outer)
	t := nft.New(u.name, unix.NFPROTO_IPV4)
	t.Owned()
	t.Input(in)
	t.Rule(in, nft.All(nft.From(link), nft.Answering(), []nft.Expression{nft.Accept()})...)
	t.Rule(in, nft.All(nft.From(link), nft.Protocol(unix.IPPROTO_TCP), []nft.Expression{nft.Reset()})...)
	t.Rule(in, nft.All(nft.From(link), []nft.Expression{nft.Unreachable(icmpHostUnreachable)})...)
	t.Forward(through)
	for _, refused := range [][]nft.Expression{nft.To(linkLocal), nft.Opened(linkLocal)} { // redirected there, or from there
		t.Rule(through, nft.All(nft.From(link), refused, []nft.Expression{nft.Unreachable(icmpHostUnreachable)})...)
	}
	t.Rule(through, nft.All(nft.Toward(link), nft.Answering(), []nft.Expression{nft.Accept()})...)
	t.Rule(through, nft.All(nft.Toward(link), []nft.Expression{nft.Unreachable(icmpHostUnreachable)})...)
	t.Postrouting(out)
	t.Rule(out, nft.All(nft.By(subnet), nft.NotToward(link), []nft.Expression{nft.Masquerade()})...)
	return netlink.Missing(t.Commit(u.rules), "nft_ct", "nft_masq")
}

// linkLocal is RFC 3927's.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

const icmpHostUnreachable = 1 // RFC 792

// cut takes the link away, and the route with it.
func (u *uplink) cut() error {
	var b netlink.Batch
	return gone(u.links.Do(b.DeleteLink(u.outer)))
}

// Close ends the way out. The host's table goes last: nothing leaves without.
func (u *uplink) Close() error {
	return errors.Join(u.cut(), u.gate.Close(), u.rules.Close(), u.links.Close())
}
