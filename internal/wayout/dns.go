package wayout

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ctorhq/ctor/internal/relay"
)

// ttl is how long a container may remember an address: it never changes.
const ttl = 300

// answer answers a query. It is nil where there is no sense in an answer.
func (n *names) answer(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	reply := dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	q, err := p.Question()
	switch {
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply, nil, nil)
	case h.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
		return pack(reply, &q, nil)
	}
	body, code := n.resolve(q)
	reply.RCode = code
	return pack(reply, &q, body)
}

// resolve gives the answer to one question. A name that exists has an address
// and nothing else: what a dialer may reach is decided when it is reached.
func (n *names) resolve(q dnsmessage.Question) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	name := strings.TrimSuffix(q.Name.String(), ".")
	if q.Class != dnsmessage.ClassINET || name == "" {
		return nil, dnsmessage.RCodeSuccess
	}
	if pointed, ok := pointer(name); ok {
		if q.Type != dnsmessage.TypePTR {
			return nil, dnsmessage.RCodeSuccess
		}
		known, ok := n.name(pointed)
		if !ok {
			return nil, dnsmessage.RCodeNameError
		}
		to, err := dnsmessage.NewName(known + ".")
		if err != nil {
			return nil, dnsmessage.RCodeServerFailure
		}
		return &dnsmessage.PTRResource{PTR: to}, dnsmessage.RCodeSuccess
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, section 6.3
		switch q.Type {
		case dnsmessage.TypeA:
			return &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}, dnsmessage.RCodeSuccess
		case dnsmessage.TypeAAAA:
			return &dnsmessage.AAAAResource{AAAA: netip.IPv6Loopback().As16()}, dnsmessage.RCodeSuccess
		}
		return nil, dnsmessage.RCodeSuccess
	}
	if !plausible(name) {
		return nil, dnsmessage.RCodeNameError
	}
	if q.Type != dnsmessage.TypeA {
		return nil, dnsmessage.RCodeSuccess
	}
	a, ok := n.address(name)
	if !ok {
		return nil, dnsmessage.RCodeServerFailure
	}
	return &dnsmessage.AResource{A: a.As4()}, dnsmessage.RCodeSuccess
}

// plausible tells whether a dialer could make sense of a name: it holds nothing
// that means something else in "host:port".
func plausible(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' || c == '[' || c == ']' || c == '%' || c == '/' {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}

// pointer reads the address that a name of in-addr.arpa asks for.
func pointer(name string) (netip.Addr, bool) {
	labels := strings.Split(strings.ToLower(name), ".")
	if len(labels) != 6 || labels[4] != "in-addr" || labels[5] != "arpa" {
		return netip.Addr{}, strings.HasSuffix(strings.ToLower(name), ".arpa")
	}
	var b [4]byte
	for i := range b {
		v, err := strconv.ParseUint(labels[3-i], 10, 8)
		if err != nil {
			return netip.Addr{}, true
		}
		b[i] = byte(v)
	}
	return netip.AddrFrom4(b), true
}

func pack(h dnsmessage.Header, q *dnsmessage.Question, body dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{Header: h}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
		if body != nil {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: ttl}, Body: body}}
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// answerName answers a query that came as a datagram, at once: nothing is asked
// elsewhere for it.
func (w *Way) answerName(f flow, query []byte) {
	if len(query) > mostQuery {
		return
	}
	reply := w.names.answer(query)
	if reply == nil {
		return
	}
	c, err := w.impersonate(f)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write(reply)
}

// serveStream answers queries that come by TCP, each behind its length. No query
// that can be answered is long: an end that sends another is not waited for.
func (n *names) serveStream(c net.Conn) {
	for {
		_ = c.SetDeadline(time.Now().Add(asking))
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint16(length[:]))
		if size > mostQuery {
			relay.Reset(c)
			return
		}
		query := make([]byte, size)
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := n.answer(query)
		if reply == nil {
			relay.Reset(c)
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
