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

// ttl is how long a container may remember an address that stands for a name: it
// never changes. A neighbour's is not to be remembered: neighbours come and go.
func ttl(body dnsmessage.ResourceBody) uint32 {
	if a, ok := body.(*dnsmessage.AResource); ok && reserved.Contains(netip.AddrFrom4(a.A)) {
		return 300
	}
	return 0
}

// A reply is what a query is answered with.
type reply struct {
	header   dnsmessage.Header
	question *dnsmessage.Question
	records  []dnsmessage.ResourceBody
	lifetime uint32  // of the records, in seconds
	room     int     // bytes that the asker takes in a datagram
	lookup   *lookup // where the records come from, if the policy lets it; nil: there is no more
}

// answer answers a query. It is nil where there is no sense in an answer.
func (n *names) answer(query []byte) *reply {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	r := &reply{room: smallest}
	r.header = dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	q, err := p.Question()
	if err != nil {
		r.header.RCode = dnsmessage.RCodeFormatError
		return r
	}
	r.question = &q
	if h.OpCode != 0 {
		r.header.RCode = dnsmessage.RCodeNotImplemented
		return r
	}
	name := strings.TrimSuffix(q.Name.String(), ".")
	body, code, ok := n.near(name, q)
	switch {
	case ok:
	case q.Type == dnsmessage.TypeA && n.real:
		r.lookup = &lookup{strings.ToLower(name), q.Type}
	case q.Type == dnsmessage.TypeA:
		body, code = n.stand(name)
	default:
		r.room, r.lookup = room(&p), lookupOf(name, q.Type)
	}
	if r.header.RCode = code; body != nil {
		r.records, r.lifetime = []dnsmessage.ResourceBody{body}, ttl(body)
	}
	return r
}

// The sizes of answers by datagrams: what every asker takes (RFC 1035, section
// 4.2.1), and what is sent at most, so that it need not be cut up on its way.
const (
	smallest = 512
	longest  = 1232
)

// room reads how long a datagram the asker takes (RFC 6891, section 6.2.3).
func room(p *dnsmessage.Parser) int {
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return smallest
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return smallest
		}
		if h.Type == dnsmessage.TypeOPT {
			return min(max(int(h.Class), smallest), longest)
		}
		if p.SkipAdditional() != nil {
			return smallest
		}
	}
}

// near answers a question that has nothing to do with the outside. ok is false for a
// name that the outside may know.
func (n *names) near(name string, q dnsmessage.Question) (_ dnsmessage.ResourceBody, _ dnsmessage.RCode, ok bool) {
	if q.Class != dnsmessage.ClassINET || name == "" {
		return nil, dnsmessage.RCodeSuccess, true
	}
	if pointed, ok := pointer(name); ok {
		if q.Type != dnsmessage.TypePTR {
			return nil, dnsmessage.RCodeSuccess, true
		}
		body, code := n.pointed(pointed)
		return body, code, true
	}
	if isLocalhost(name) {
		switch q.Type {
		case dnsmessage.TypeA:
			return &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}, dnsmessage.RCodeSuccess, true
		case dnsmessage.TypeAAAA:
			return &dnsmessage.AAAAResource{AAAA: netip.IPv6Loopback().As16()}, dnsmessage.RCodeSuccess, true
		}
		return nil, dnsmessage.RCodeSuccess, true
	}
	if !plausible(name) {
		return nil, dnsmessage.RCodeNameError, true
	}
	return n.neighbour(name, q.Type)
}

// pointed gives the name of an address.
func (n *names) pointed(a netip.Addr) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	known, ok := n.name(a)
	if !ok && n.neighbours != nil {
		known, ok = n.neighbours.At(a)
	}
	if !ok {
		return nil, dnsmessage.RCodeNameError
	}
	to, err := dnsmessage.NewName(known + ".")
	if err != nil {
		return nil, dnsmessage.RCodeServerFailure
	}
	return &dnsmessage.PTRResource{PTR: to}, dnsmessage.RCodeSuccess
}

// stand gives the address that stands for a name outside, whether or not there is
// one: what a dialer may reach is decided when it is reached.
func (n *names) stand(name string) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	a, ok := n.address(name)
	if !ok {
		return nil, dnsmessage.RCodeServerFailure
	}
	return &dnsmessage.AResource{A: a.As4()}, dnsmessage.RCodeSuccess
}

// isLocalhost tells of a name that is the container's own (RFC 6761, section 6.3).
func isLocalhost(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
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

// pack gives a reply as it is sent. One that is longer than most is cut: the
// asker comes back by TCP.
func (r *reply) pack(most int) []byte {
	m := dnsmessage.Message{Header: r.header}
	if r.question != nil {
		m.Questions = []dnsmessage.Question{*r.question}
		for _, body := range r.records {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: r.question.Name, Class: r.question.Class, TTL: r.lifetime}, Body: body})
		}
	}
	b, err := m.Pack()
	if err == nil && len(b) > most {
		m.Truncated, m.Answers = true, nil
		b, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return b
}

// answerName answers a query that came as a datagram: at once, unless its records
// are to be looked up.
func (w *Way) answerName(f flow, query []byte) {
	if len(query) > mostQuery {
		return
	}
	r := w.names.answer(query)
	switch {
	case r == nil:
	case r.lookup == nil:
		w.send(f, r)
	default:
		select {
		case w.lookups <- struct{}{}:
			w.tasks.Go(func() {
				defer func() { <-w.lookups }()
				w.complete(r, f.from)
				w.send(f, r)
			})
		default:
			r.header.RCode = dnsmessage.RCodeServerFailure
			w.send(f, r)
		}
	}
}

// complete looks the records of a reply up, if the policy lets it.
func (w *Way) complete(r *reply, from netip.AddrPort) {
	if w.forwards == nil || !w.forwards(w.life, r.lookup.name, from) {
		return
	}
	r.lifetime = recordsTTL
	r.records, r.header.RCode = r.lookup.find(w.life)
}

// send sends a reply as a datagram.
func (w *Way) send(f flow, r *reply) {
	c, err := w.impersonate(f)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write(r.pack(r.room))
}

// answerStream answers queries that come by TCP, each behind its length. No query
// that can be answered is long: an end that sends another is not waited for.
func (w *Way) answerStream(c net.Conn, from netip.AddrPort) {
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
		r := w.names.answer(query)
		if r == nil {
			relay.Reset(c)
			return
		}
		if r.lookup != nil {
			w.complete(r, from)
		}
		b := r.pack(largest - 2)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}
