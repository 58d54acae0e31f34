package wayout

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/nft"
)

// A queue is where the kernel holds first packets until it is told what becomes
// of them.
type queue struct {
	file       *os.File
	expression nft.Expression // of the rule that puts packets there
}

func (q *queue) Close() error { return q.file.Close() }

// Messages and attributes of linux/netfilter/nfnetlink_queue.h.
const (
	queuePacket, queueVerdict, queueConfig = 0, 1, 2

	configCommand, configParams, configLength = 1, 2, 3
	packetHeader, packetPayload               = 1, 10
	verdictHeader, verdictMark                = 2, 3

	commandBind = 1
	copyPacket  = 2

	verdictDrop, verdictRepeat = 0, 4

	queueNumber   = 7
	generalHeader = 4   // struct nfgenmsg
	headerBytes   = 128 // of a packet, for its addresses and ports
)

func queueType(message uint16) uint16 { return unix.NFNL_SUBSYS_QUEUE<<8 | message }

func queueHeader() []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, queueNumber)
}

// openQueue opens the queue of the thread's namespace. It is nil where the
// kernel has none.
func openQueue() (*queue, error) {
	expression, err := queueExpression()
	if expression == nil || err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "nfqueue")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		f.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	var b netlink.Batch
	params := append(binary.BigEndian.AppendUint32(nil, headerBytes), copyPacket)
	b.Begin("", queueType(queueConfig), 0, queueHeader()).Attr(configCommand, []byte{commandBind, 0, 0, unix.AF_INET})
	b.Begin("", queueType(queueConfig), 0, queueHeader()).Attr(configParams, params).Big32(configLength, 1024)
	if err := unix.Sendto(fd, b.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		f.Close()
		return nil, os.NewSyscallError("sendto", err)
	}
	return &queue{f, expression}, nil
}

// queueExpression finds out which of its ways to a queue this kernel has, by a
// table in the thread's namespace that is made and not kept.
func queueExpression() (nft.Expression, error) {
	howToQueue.Lock()
	defer howToQueue.Unlock()
	if howToQueue.known {
		return howToQueue.expression, nil
	}
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, e := range []nft.Expression{nft.Queue(queueNumber), nft.QueueTarget(queueNumber)} {
		t := nft.New("ctor-probe", unix.NFPROTO_IPV4)
		t.Prerouting("probe")
		t.Rule("probe", nft.All(nft.Protocol(unix.IPPROTO_TCP), []nft.Expression{e})...)
		t.Delete()
		if err := t.Commit(s); err == nil {
			howToQueue.expression = e
			break
		}
	}
	howToQueue.known = true
	return howToQueue.expression, nil
}

// howToQueue is what the kernel has: the same in every namespace.
var howToQueue struct {
	sync.Mutex
	known      bool
	expression nft.Expression
}

// hold answers the packets in the queue until that is closed.
func (w *Way) hold() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.queue.file.Read(buf)
		if errors.Is(err, unix.ENOBUFS) {
			continue // some were lost; TCP sends them again
		}
		if err != nil {
			return
		}
		for typ, body := range netlink.Messages(buf[:n]) {
			if typ == queueType(queuePacket) && len(body) > generalHeader {
				w.packet(body[generalHeader:])
			}
		}
	}
}

// packet has the dialer asked, and lets the packet go with the answer.
func (w *Way) packet(attrs []byte) {
	var id uint32
	var f flow
	known := false
	for typ, data := range netlink.Attrs(attrs) {
		switch {
		case typ == packetHeader && len(data) >= 4:
			id = binary.BigEndian.Uint32(data)
		case typ == packetPayload:
			f, known = flowOf(data)
		}
	}
	switch {
	case !known:
		w.queue.verdict(id, verdictDrop, 0)
	case f.to.Port() == dnsPort || len(w.places) == cap(w.places):
		w.queue.verdict(id, verdictRepeat, markAccept) // it is answered, or reset, when it is accepted
	default:
		switch w.held.begin(f) {
		case dialing:
			w.queue.verdict(id, verdictDrop, 0) // the first one will have the answer
		case dialled, full:
			w.queue.verdict(id, verdictRepeat, markAccept)
		case begun:
			w.tasks.Go(func() { w.queue.verdict(id, verdictRepeat, w.dialFirst(f)) })
		}
	}
}

// dialFirst has the dialer asked before the container's half is open, and gives
// the mark that tells the answer.
func (w *Way) dialFirst(f flow) uint32 {
	out, err := w.ask("tcp", f)
	if err == nil {
		w.held.offer(f, out)
		return markAccept
	}
	w.held.take(f)
	if unreachable(err) {
		return markUnreachable
	}
	return markRefuse
}

// verdict says what becomes of a packet. A queue that is closed has let it go.
func (q *queue) verdict(id, verdict, mark uint32) {
	var b netlink.Batch
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
	b.Begin("", queueType(queueVerdict), 0, queueHeader()).Attr(verdictHeader, header).Big32(verdictMark, mark)
	_, _ = q.file.Write(b.Bytes())
}

// flowOf reads the addresses and ports of a TCP packet. The kernel has checked
// it; the container has written it.
func flowOf(p []byte) (f flow, ok bool) {
	if len(p) == 0 {
		return f, false
	}
	var from, to netip.Addr
	header := 0
	switch p[0] >> 4 {
	case 4:
		if len(p) < 20 {
			return f, false
		}
		from, to, header = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), int(p[0]&15)*4
	case 6:
		const tcpFirst = unix.IPPROTO_TCP // a packet with extension headers is no opening of ours
		if len(p) < 40 || p[6] != tcpFirst {
			return f, false
		}
		from, to, header = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), 40
	}
	if header < 20 || len(p) < header+4 {
		return f, false
	}
	ports := p[header:]
	return flow{
		plain(netip.AddrPortFrom(from, binary.BigEndian.Uint16(ports))),
		plain(netip.AddrPortFrom(to, binary.BigEndian.Uint16(ports[2:]))),
	}, true
}
