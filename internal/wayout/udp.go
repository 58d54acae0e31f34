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
		if w.enterFlow(f, n) {
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

// enterFlow is false where the flow is known, or one too many. Its first
// datagram waits for the dialer.
func (w *Way) enterFlow(f flow, first int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.flows[f]; ok || w.closed || len(w.flows) >= w.room || w.first+first > mostFirst {
		return false
	}
	w.flows[f] = struct{}{}
	w.first += first
	return true
}

func (w *Way) leaveFlow(f flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flows, f)
}

// sent frees the room of a first datagram.
func (w *Way) sent(first int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first -= first
}

// exchange passes the datagrams of a flow both ways, until none has come for
// long.
func (w *Way) exchange(f flow, first []byte) {
	in, out := w.begin(f, first)
	if in == nil {
		return
	}
	defer w.drop(in, out)
	relay.JoinDatagrams(in, out, idle)
}

// begin makes the two connections of a flow, and sends the first datagram. It
// gives none where one of them can't be had.
func (w *Way) begin(f flow, first []byte) (in, out net.Conn) {
	defer w.sent(len(first))
	out, err := w.ask("udp", f)
	if err != nil {
		return nil, nil
	}
	if in, err = w.impersonate(f); err != nil {
		out.Close()
		return nil, nil
	}
	if !w.keep(in, out) {
		return nil, nil
	}
	_, _ = out.Write(first) // a datagram may be lost
	return in, out
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
