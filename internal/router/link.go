package router

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
)

// mtu is the longest packet on a link. No packet leaves this host, so it is
// nearly as long as loopback's: shorter ones halve the throughput.
const mtu = 65520

// links counts the links of all routers: each has a number of its own, at both of
// its ends. Lower ones are those that the kernel gives by itself.
var links atomic.Int32

const firstLink = 1000

// A Link leads from a router into a container's namespace.
type Link struct {
	router *Router
	index  int // on the router's side
	at     []netip.Prefix
}

// Join makes a link into the namespace of process, which is named by a pidfd. The
// container's end has a name, and an address in each of the router's subnets, in
// their order. When Join returns, no packet is lost.
func (r *Router) Join(process *os.File, name string, addresses []netip.Addr) (*Link, error) {
	l := &Link{router: r, index: firstLink + int(links.Add(1))}
	for i, p := range r.own {
		l.at = append(l.at, netip.PrefixFrom(addresses[i], p.Bits()))
	}
	err := netns.Within(process, func() error { return l.enter(name) })
	if err == nil {
		err = l.settle()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), l.Cut())
	}
	return l, nil
}

// enter makes the link, on a thread that is in the container's namespace.
func (l *Link) enter(name string) error {
	here, err := netns.Here()
	if err != nil {
		return err
	}
	defer here.Close()
	// Locally administered, and the same at both ends.
	address := net.HardwareAddr(binary.BigEndian.AppendUint32([]byte{0x02, 0x63}, uint32(l.index)))
	var outer netlink.Batch
	outer.Veth(netlink.End{Name: fmt.Sprintf("c%d", l.index), Index: l.index}, netlink.End{Name: name, Index: l.index}, here, address, mtu)
	if err := l.do(&outer); err != nil {
		return netlink.Missing(err, "veth")
	}
	var inner netlink.Batch
	for _, p := range l.at {
		if p.Addr().Is6() {
			inner.Plain(l.index)
		}
	}
	inner.Up(l.index)
	for _, p := range l.at {
		inner.Address(l.index, p)
		if p.Addr().Is6() {
			// The kernel makes the address its own only a little later.
			inner.Own(l.index, alone(p), p.Addr())
		} else if l.router.hasUplink() {
			inner.Away(l.index, p.Addr(), outerMTU, l.index)
		}
	}
	return netlink.Do(unix.NETLINK_ROUTE, &inner)
}

// settle has the router send to the link, once nothing that it sends is lost.
func (l *Link) settle() error {
	deadline := time.Now().Add(2 * time.Second) // the kernel looks once a second at the latest
	for {
		running, err := l.running()
		if err != nil {
			return err
		}
		if running || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Microsecond) // there is nothing that tells
	}
	var routes netlink.Batch
	for i, p := range l.at {
		routes.Route(l.index, alone(p), l.router.own[i].Addr())
	}
	return l.do(&routes)
}

// alone is an address without its subnet.
func alone(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Addr().BitLen()) }

func (l *Link) do(b *netlink.Batch) error {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	if l.router.socket == nil {
		return os.ErrClosed
	}
	return l.router.socket.Do(b)
}

func (l *Link) running() (bool, error) {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	if l.router.socket == nil {
		return false, os.ErrClosed
	}
	return l.router.socket.Running(l.index)
}

// Close has the router neither send to the link nor take anything from it, once
// its container has ended: the link itself goes with the container's namespace.
func (l *Link) Close() error {
	var b netlink.Batch
	for _, p := range l.at {
		b.DropRoute(l.index, alone(p))
	}
	return gone(l.do(&b))
}

// Cut takes the link away at both ends, from a container that goes on. The kernel
// takes some 20 ms for it.
func (l *Link) Cut() error {
	var b netlink.Batch
	b.DeleteLink(l.index)
	return gone(l.do(&b))
}

// gone passes over that a link is away already: with its container, by that
// container's own doing, or with its router.
func gone(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
