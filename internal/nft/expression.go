package nft

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// An Expression is a part of a rule: it matches, or does.
type Expression func(*netlink.Batch)

// All joins expressions.
func All(parts ...[]Expression) []Expression { return slices.Concat(parts...) }

// expression opens one with a name; the caller adds its data and closes it.
func expression(b *netlink.Batch, name string) *netlink.Batch {
	return b.String(unix.NFTA_EXPR_NAME, name).Nest(unix.NFTA_EXPR_DATA)
}

// The registers that expressions leave values in for the next.
const (
	verdictRegister = unix.NFT_REG_VERDICT
	register1       = unix.NFT_REG_1
	register2       = unix.NFT_REG_2
)

func meta(key uint32) Expression {
	return func(b *netlink.Batch) {
		expression(b, "meta").Big32(unix.NFTA_META_DREG, register1).Big32(unix.NFTA_META_KEY, key).End()
	}
}

func equals(value []byte) Expression  { return compare(unix.NFT_CMP_EQ, value) }
func differs(value []byte) Expression { return compare(unix.NFT_CMP_NEQ, value) }

func compare(how uint32, value []byte) Expression {
	return func(b *netlink.Batch) {
		expression(b, "cmp").Big32(unix.NFTA_CMP_SREG, register1).Big32(unix.NFTA_CMP_OP, how).
			Nest(unix.NFTA_CMP_DATA).Attr(unix.NFTA_DATA_VALUE, value).End().End()
	}
}

func payload(base, offset, length uint32) Expression {
	return func(b *netlink.Batch) {
		expression(b, "payload").Big32(unix.NFTA_PAYLOAD_DREG, register1).Big32(unix.NFTA_PAYLOAD_BASE, base).
			Big32(unix.NFTA_PAYLOAD_OFFSET, offset).Big32(unix.NFTA_PAYLOAD_LEN, length).End()
	}
}

func and(mask []byte) Expression {
	return func(b *netlink.Batch) {
		expression(b, "bitwise").Big32(unix.NFTA_BITWISE_SREG, register1).Big32(unix.NFTA_BITWISE_DREG, register1).Big32(unix.NFTA_BITWISE_LEN, uint32(len(mask))).
			Nest(unix.NFTA_BITWISE_MASK).Attr(unix.NFTA_DATA_VALUE, mask).End().
			Nest(unix.NFTA_BITWISE_XOR).Attr(unix.NFTA_DATA_VALUE, make([]byte, len(mask))).End().End()
	}
}

func load(register uint32, value []byte) Expression {
	return func(b *netlink.Batch) {
		expression(b, "immediate").Big32(unix.NFTA_IMMEDIATE_DREG, register).
			Nest(unix.NFTA_IMMEDIATE_DATA).Attr(unix.NFTA_DATA_VALUE, value).End().End()
	}
}

// Protocol matches a protocol, such as unix.IPPROTO_TCP ("meta l4proto").
func Protocol(p byte) []Expression {
	return []Expression{meta(unix.NFT_META_L4PROTO), equals([]byte{p})}
}

// NotProtocol matches every other one.
func NotProtocol(p byte) []Expression {
	return []Expression{meta(unix.NFT_META_L4PROTO), differs([]byte{p})}
}

// Mark matches packets that have a mark ("meta mark").
func Mark(m uint32) []Expression {
	return []Expression{meta(unix.NFT_META_MARK), equals(binary.NativeEndian.AppendUint32(nil, m))}
}

// SetMark gives a packet a mark ("meta mark set").
func SetMark(m uint32) []Expression {
	return []Expression{load(register1, binary.NativeEndian.AppendUint32(nil, m)), func(b *netlink.Batch) {
		expression(b, "meta").Big32(unix.NFTA_META_KEY, unix.NFT_META_MARK).Big32(unix.NFTA_META_SREG, register1).End()
	}}
}

// NotFrom matches packets that came by another link than the one with an index
// ("meta iif !=").
func NotFrom(index uint32) []Expression {
	return []Expression{meta(unix.NFT_META_IIF), differs(binary.NativeEndian.AppendUint32(nil, index))}
}

// From matches packets that came by the link with an index ("meta iif").
func From(index uint32) []Expression {
	return []Expression{meta(unix.NFT_META_IIF), equals(binary.NativeEndian.AppendUint32(nil, index))}
}

// Toward matches packets that leave by the link with an index ("meta oif").
func Toward(index uint32) []Expression {
	return []Expression{meta(unix.NFT_META_OIF), equals(binary.NativeEndian.AppendUint32(nil, index))}
}

// NotToward matches packets that leave by any other.
func NotToward(index uint32) []Expression {
	return []Expression{meta(unix.NFT_META_OIF), differs(binary.NativeEndian.AppendUint32(nil, index))}
}

// Answering matches packets of connections that the other end has answered, and
// errors about them ("ct state established,related"). It needs the kernel's module
// nft_ct.
func Answering() []Expression {
	const established, related = 1 << 1, 1 << 2 // NF_CT_STATE_BIT
	return []Expression{
		func(b *netlink.Batch) {
			expression(b, "ct").Big32(unix.NFTA_CT_DREG, register1).Big32(unix.NFTA_CT_KEY, unix.NFT_CT_STATE).End()
		},
		and(binary.NativeEndian.AppendUint32(nil, established|related)),
		differs(make([]byte, 4)),
	}
}

// Opened matches packets of connections that were opened to addresses, whatever they
// have been redirected to ("ct original ip daddr"). It needs nft_ct, and Linux 4.17.
func Opened(p netip.Prefix) []Expression {
	const original = 0 // IP_CT_DIR_ORIGINAL
	key := uint32(unix.NFT_CT_DST_IP)
	if p.Addr().Is6() {
		key = unix.NFT_CT_DST_IP6
	}
	return in(p, func(int, int) Expression {
		return func(b *netlink.Batch) {
			expression(b, "ct").Big32(unix.NFTA_CT_DREG, register1).Big32(unix.NFTA_CT_KEY, key).Uint8(unix.NFTA_CT_DIRECTION, original).End()
		}
	})
}

// Masquerade makes a connection one of this host's ("masquerade"): from the address
// of the link that it leaves by. It needs the kernel's module nft_masq.
func Masquerade() Expression {
	return func(b *netlink.Batch) { expression(b, "masq").End() }
}

// Astray matches packets whose sender would not be answered by the link that they
// came by ("fib saddr . iif oif missing"). It needs the kernel's module
// nft_fib_ipv4, or nft_fib_ipv6.
func Astray() []Expression {
	const link, sender, arrival = 1, 1, 8 // NFT_FIB_RESULT_OIF, NFTA_FIB_F_SADDR, NFTA_FIB_F_IIF
	return []Expression{fib(link, sender|arrival), equals(make([]byte, 4))}
}

// ToNone matches packets to an address that no route leads to ("fib daddr type
// unreachable"). It needs what Astray needs.
func ToNone() []Expression {
	const kind, receiver = 3, 2 // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR
	return []Expression{fib(kind, receiver), equals(binary.NativeEndian.AppendUint32(nil, unix.RTN_UNREACHABLE))}
}

// fib asks the routes.
func fib(result, flags uint32) Expression {
	return func(b *netlink.Batch) {
		const registerAttr, resultAttr, flagsAttr = 1, 2, 3 // NFTA_FIB_*
		expression(b, "fib").Big32(registerAttr, register1).Big32(resultAttr, result).Big32(flagsAttr, flags).End()
	}
}

// source loads the first bytes of the address that a packet is from, and destination
// those of the one that it goes to. length is that of an address.
func source(length, first int) Expression {
	offset := uint32(12)
	if length == net6 {
		offset = 8
	}
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(first))
}

func destination(length, first int) Expression {
	offset := uint32(16)
	if length == net6 {
		offset = 24
	}
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(first))
}

// The lengths of addresses.
const (
	net4 = 4
	net6 = 16
)

// To matches packets to addresses ("ip daddr"), and By those from them ("ip saddr").
func To(p netip.Prefix) []Expression { return in(p, destination) }

// By is told of at To.
func By(p netip.Prefix) []Expression { return in(p, source) }

// in compares no more bytes than a prefix has, and masks only if its last one is not
// whole: the kernel needs as long to read an expression as for the rest of a rule.
func in(p netip.Prefix, address func(length, first int) Expression) []Expression {
	first := (p.Bits() + 7) / 8
	if first == 0 {
		return nil // all are
	}
	all := []Expression{address(p.Addr().BitLen()/8, first)}
	if left := p.Bits() % 8; left > 0 {
		mask := bytes.Repeat([]byte{0xff}, first)
		mask[first-1] <<= 8 - left
		all = append(all, and(mask))
	}
	return append(all, equals(p.Masked().Addr().AsSlice()[:first]))
}

// Opening matches the first packet of a TCP connection: SYN without ACK and RST.
func Opening() []Expression {
	const flags, syn, rst, ack = 13, 0x02, 0x04, 0x10
	return []Expression{payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, flags, 1), and([]byte{syn | rst | ack}), equals([]byte{syn})}
}

// The kernel's NF_DROP and NF_ACCEPT.
const (
	drop   = 0
	accept = 1
)

// Accept ends the chain for a packet, and Drop loses it without a word.
func Accept() Expression { return verdict(accept) }

// Drop is told of at Accept.
func Drop() Expression { return verdict(drop) }

func verdict(code uint32) Expression {
	return func(b *netlink.Batch) {
		expression(b, "immediate").Big32(unix.NFTA_IMMEDIATE_DREG, verdictRegister).
			Nest(unix.NFTA_IMMEDIATE_DATA).Nest(unix.NFTA_DATA_VERDICT).Big32(unix.NFTA_VERDICT_CODE, code).End().End().End()
	}
}

// Proxy gives a packet to the transparent socket that listens on an address of
// this namespace, and leaves the packet as it is ("tproxy"). It needs the
// kernel's module nft_tproxy.
func Proxy(to netip.AddrPort) []Expression {
	family := uint32(unix.NFPROTO_IPV4)
	if to.Addr().Is6() {
		family = unix.NFPROTO_IPV6
	}
	return []Expression{
		load(register1, to.Addr().AsSlice()),
		load(register2, binary.BigEndian.AppendUint16(nil, to.Port())),
		func(b *netlink.Batch) {
			const familyAttr, addrAttr, portAttr = 1, 2, 3 // NFTA_TPROXY_*
			expression(b, "tproxy").Big32(familyAttr, family).Big32(addrAttr, register1).Big32(portAttr, register2).End()
		},
		Accept(),
	}
}

// Reset answers a TCP packet with a reset ("reject with tcp reset").
func Reset() Expression { return reject(unix.NFT_REJECT_TCP_RST, 0) }

// Unreachable answers a packet with an ICMP error of the rule's family ("reject
// with icmp type").
func Unreachable(code byte) Expression { return reject(unix.NFT_REJECT_ICMP_UNREACH, code) }

func reject(typ uint32, code byte) Expression {
	return func(b *netlink.Batch) {
		expression(b, "reject").Big32(unix.NFTA_REJECT_TYPE, typ).Uint8(unix.NFTA_REJECT_ICMP_CODE, code).End()
	}
}

// Queue holds a packet until a program that listens on a queue has said what
// becomes of it; where none listens the rules go on ("queue bypass").
func Queue(number uint16) Expression {
	return func(b *netlink.Batch) {
		const bypass = 1 // NFT_QUEUE_FLAG_BYPASS
		expression(b, "queue").Attr(unix.NFTA_QUEUE_NUM, binary.BigEndian.AppendUint16(nil, number)).
			Attr(unix.NFTA_QUEUE_TOTAL, binary.BigEndian.AppendUint16(nil, 1)).
			Attr(unix.NFTA_QUEUE_FLAGS, binary.BigEndian.AppendUint16(nil, bypass)).End()
	}
}

// QueueTarget is Queue by the module of iptables, xt_NFQUEUE: kernels have it
// that lack nft_queue.
func QueueTarget(number uint16) Expression {
	const bypass, revision = 1, 3
	info := binary.NativeEndian.AppendUint16(nil, number)
	info = binary.NativeEndian.AppendUint16(info, 1) // queues
	info = binary.NativeEndian.AppendUint16(info, bypass)
	info = binary.NativeEndian.AppendUint16(info, 0) // padding
	return func(b *netlink.Batch) {
		expression(b, "target").String(unix.NFTA_TARGET_NAME, "NFQUEUE").Big32(unix.NFTA_TARGET_REV, revision).Attr(unix.NFTA_TARGET_INFO, info).End()
	}
}
