package wayout

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/relay"
)

// largest is the longest datagram that there is.
const largest = relay.Largest

// receive takes the first datagram of each flow until the socket is closed. The
// next ones come to the flow's own socket.
func (w *Way) receive(u *net.UDPConn) {
	buf, oob := make([]byte, largest), make([]byte, 128)
	for {
		n, on, _, from, err := u.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		to, ok := destination(oob[:on])
		if !ok {
			continue
		}
		f := flow{plain(from), plain(to)}
		if f.to.Port() == dnsPort {
			w.answerName(f, buf[:n])
			continue
		}
		if w.enterFlow(f) {
			first := append([]byte(nil), buf[:n]...)
			w.tasks.Go(func() {
				defer w.leaveFlow(f)
				w.exchange(f, first)
			})
		}
	}
}

// destination reads to where a datagram was sent.
func destination(oob []byte) (netip.AddrPort, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, m := range messages { // a struct sockaddr_in or sockaddr_in6
		switch {
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_ORIGDSTADDR && len(m.Data) >= 8:
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Data[4:])), binary.BigEndian.Uint16(m.Data[2:])), true
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_ORIGDSTADDR && len(m.Data) >= 24:
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(m.Data[8:])), binary.BigEndian.Uint16(m.Data[2:])), true
		}
	}
	return netip.AddrPort{}, false
}

// enterFlow is false where the flow is known, or one too many.
func (w *Way) enterFlow(f flow) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.flows[f]; ok || w.closed || len(w.flows) >= mostFlows {
		return false
	}
	w.flows[f] = struct{}{}
	return true
}

func (w *Way) leaveFlow(f flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flows, f)
}

// exchange passes the datagrams of a flow both ways, until none has come for
// long.
func (w *Way) exchange(f flow, first []byte) {
	out, err := w.ask("udp", f)
	if err != nil {
		return
	}
	in, err := w.impersonate(f)
	if err != nil {
		out.Close()
		return
	}
	if !w.keep(in, out) {
		return
	}
	defer w.drop(in, out)
	if _, err := out.Write(first); err != nil {
		return
	}
	relay.JoinDatagrams(in, out, idle)
}

// impersonate makes a socket in the container's network that speaks with the
// address which the container believes in.
func (w *Way) impersonate(f flow) (c net.Conn, err error) {
	err = netns.Within(w.process, func() error {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(f.to), Control: transparent}
		c, err = d.DialContext(context.Background(), "udp", f.from.String())
		return err
	})
	return c, err
}
