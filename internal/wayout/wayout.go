// Package wayout makes a container's way out: its connections to the outside
// become calls of a Go function in this program.
//
// Nothing of the host's network is touched. In the container's own network
// namespace a route makes every address there is the namespace's own, so each
// packet arrives where it began; one table of rules gives new connections to
// sockets of this program that listen in there. The accepted connection's local
// address is what the container asked for. The program dials, and joins the two.
//
// A SYN waits in the kernel until the dialer has answered, where the kernel can
// hold it (NFQUEUE): so a refusal is one for the container too. Elsewhere the
// connection is accepted first, and reset.
//
// Names are answered by the package, with addresses of 198.18.0.0/15, which no
// host has (RFC 2544). The dialer is given the name that an address stands for.
// No query for an address leaves the program; what else a name has is looked up
// where the policy lets it.
//
// All of it lives in file descriptors of this program: when they are closed, or
// the program is killed, nothing is left to undo, and what the container still
// tries is refused.
package wayout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/relay"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Dialer makes a connection in the container's name. from is the container's
// own end.
type Dialer func(ctx context.Context, network, address string, from netip.AddrPort) (net.Conn, error)

// Forwards tells whether the program's own resolver may be asked for what a name
// has beside addresses.
type Forwards func(ctx context.Context, name string, from netip.AddrPort) bool

// The addresses that mean something to a container with a way out.
var (
	// Resolver answers queries of names, at port 53. So does every other
	// address.
	Resolver = netip.MustParseAddr("198.18.0.1")

	own4 = netip.MustParsePrefix("198.18.0.2/32")
	own6 = netip.MustParsePrefix("fd63:746f:7200::2/128")
	all4 = netip.MustParsePrefix("0.0.0.0/0")
	all6 = netip.MustParsePrefix("::/0")

	// inside are the addresses that stay the namespace's own.
	inside = []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), own4, netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("::1/128"), own6, netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("::/128"),
	}
)

// A Way is a container's way out, while it is open.
type Way struct {
	process  *os.File // pidfd
	dial     Dialer
	forwards Forwards // nil: never
	names    names
	routed   bool // of what the container sends, names alone are the way's
	life     context.Context
	end      context.CancelFunc
	tasks    sync.WaitGroup

	tcp   []*net.TCPListener
	udp   []*net.UDPConn
	queue *queue // nil: the kernel can't hold a SYN
	held  held

	places  chan struct{} // one is taken for each connection
	lookups chan struct{} // and one for each lookup that a datagram asked for

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{} // to be closed with the way
	flows  map[flow]struct{}     // of datagrams
	room   int                   // for flows
	first  int                   // bytes of first datagrams that wait for a dialer
}

// Open makes the way out of the network namespace of process, which is named by
// a pidfd and must have no other way. Whatever the container does, the way has a
// bounded number of connections, flows of datagrams and names, and keeps no bytes
// for an end that does not read. A kernel without what it needs is
// errdefs.ErrUnavailable, and the error names the module.
func Open(process *os.File, dial Dialer, forwards Forwards, neighbours Neighbours) (*Way, error) {
	w := &Way{process: process, dial: dial, forwards: forwards, names: names{neighbours: neighbours}}
	return w, w.open()
}

// Names answers the names that a container looks up whose routes lead outside: those of
// its neighbours as Open does, others with what the program's own resolver finds. They
// have their real addresses, of IPv4 alone.
func Names(process *os.File, neighbours Neighbours) (*Way, error) {
	none := func(context.Context, string, string, netip.AddrPort) (net.Conn, error) {
		return nil, unix.ECONNREFUSED
	}
	all := func(context.Context, string, netip.AddrPort) bool { return true }
	w := &Way{process: process, dial: none, forwards: all, names: names{neighbours: neighbours, real: true}, routed: true}
	return w, w.open()
}

// open is what both have in common.
func (w *Way) open() (err error) {
	w.lookups, w.places = make(chan struct{}, mostLookups), make(chan struct{}, relay.Connections())
	w.conns, w.held.flows = map[net.Conn]struct{}{}, map[flow]*half{}
	w.flows, w.room = map[flow]struct{}{}, relay.Flows()
	w.life, w.end = context.WithCancel(context.Background())
	var undo unwind.Stack
	defer func() {
		if err != nil {
			w.end()
			err = errors.Join(fmt.Errorf("way out: %w", err), undo.Run())
		}
	}()
	if err := netns.Within(w.process, func() error { return w.enter(&undo) }); err != nil {
		return err
	}
	w.serve()
	return nil
}

// serve begins to answer.
func (w *Way) serve() {
	for _, l := range w.tcp {
		w.tasks.Go(func() { w.accept(l) })
	}
	for _, u := range w.udp {
		w.tasks.Go(func() { w.receive(u) })
	}
	if w.queue != nil {
		w.tasks.Go(w.hold)
	}
}

// Close ends the way out: what is open is reset, what is tried later is refused.
// It returns when nothing of it runs any more. It may be called again.
func (w *Way) Close() error {
	w.mu.Lock()
	w.closed = true
	for c := range w.conns {
		relay.Reset(c)
	}
	w.mu.Unlock()
	w.held.close()
	w.end()
	for _, l := range w.tcp {
		l.Close()
	}
	for _, u := range w.udp {
		u.Close()
	}
	if w.queue != nil {
		w.queue.Close()
	}
	w.tasks.Wait()
	return nil
}

// keep has connections be broken off with the way. It is false, and breaks them off,
// when that is closed already: an end would look like one that the other side has made.
func (w *Way) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.closed {
			relay.Reset(c)
			continue
		}
		w.conns[c] = struct{}{}
	}
	return !w.closed
}

// drop closes connections that keep was called for.
func (w *Way) drop(conns ...net.Conn) {
	for _, c := range conns {
		c.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.conns, c)
	}
}

// ask has the dialer connect to what an address stands for. Addresses that are
// the namespace's own lead nowhere else: this program's listener is at one, and
// a dialer would take it for the host's.
func (w *Way) ask(network string, f flow) (net.Conn, error) {
	for _, p := range inside {
		if p.Contains(f.to.Addr()) {
			return nil, unix.ECONNREFUSED
		}
	}
	host := f.to.Addr().String()
	if reserved.Contains(f.to.Addr()) {
		name, ok := w.names.name(f.to.Addr())
		if !ok {
			return nil, unix.EHOSTUNREACH
		}
		host = name
	}
	ctx, cancel := context.WithTimeout(w.life, patience)
	defer cancel()
	return w.dial(ctx, network, net.JoinHostPort(host, fmt.Sprint(f.to.Port())), f.from)
}

// flow is who speaks to whom.
type flow struct{ from, to netip.AddrPort }

func (f flow) String() string { return f.from.String() + " to " + f.to.String() }

// plain is an address without what tells IPv4 from IPv4 in IPv6.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
