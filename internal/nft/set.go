package nft

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// Addresses adds an empty set of addresses to a table, before the rules that ask
// it with ToOne ("type ipv4_addr").
func (t *Table) Addresses(set string) {
	const typeIPv4, typeIPv6 = 7, 8 // of the nft command, which lists them so
	length, typ := net4, uint32(typeIPv4)
	if t.family == unix.NFPROTO_IPV6 {
		length, typ = net6, typeIPv6
	}
	t.begin("new set", unix.NFT_MSG_NEWSET, unix.NLM_F_EXCL).String(unix.NFTA_SET_TABLE, t.name).String(unix.NFTA_SET_NAME, set).
		Big32(unix.NFTA_SET_ID, setID).Big32(unix.NFTA_SET_FLAGS, 0).
		Big32(unix.NFTA_SET_KEY_TYPE, typ).Big32(unix.NFTA_SET_KEY_LEN, uint32(length))
}

// setID names a table's set within the transaction that makes it: there is one.
const setID = 1

// ToOne matches packets to an address of the table's set ("ip daddr @set").
func (t *Table) ToOne(set string) []Expression {
	length := net4
	if t.family == unix.NFPROTO_IPV6 {
		length = net6
	}
	return []Expression{destination(length, length), func(b *netlink.Batch) {
		expression(b, "lookup").String(unix.NFTA_LOOKUP_SET, set).Big32(unix.NFTA_LOOKUP_SREG, register1).Big32(unix.NFTA_LOOKUP_SET_ID, setID).End()
	}}
}

// Add puts an address into the table's set.
func (t *Table) Add(set string, a netip.Addr) {
	t.element("add to set", unix.NFT_MSG_NEWSETELEM, set, a)
}

func (t *Table) element(name string, request uint16, set string, a netip.Addr) {
	t.begin(name, request, 0).String(unix.NFTA_SET_ELEM_LIST_TABLE, t.name).String(unix.NFTA_SET_ELEM_LIST_SET, set).Big32(unix.NFTA_SET_ELEM_LIST_SET_ID, setID).
		Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS).Nest(unix.NFTA_LIST_ELEM).
		Nest(unix.NFTA_SET_ELEM_KEY).Attr(unix.NFTA_DATA_VALUE, a.AsSlice()).End().End().End()
}

// Add puts an address into the set of a table that is there, and Remove takes one
// out.
func Add(s *netlink.Socket, table, set string, a netip.Addr) error {
	t := there(table, a)
	t.element("add to set", unix.NFT_MSG_NEWSETELEM, set, a)
	return t.Commit(s)
}

// Remove is told of at Add.
func Remove(s *netlink.Socket, table, set string, a netip.Addr) error {
	t := there(table, a)
	t.element("take from set", unix.NFT_MSG_DELSETELEM, set, a)
	return t.Commit(s)
}

// there is a table that was made before, of an address's family.
func there(name string, a netip.Addr) *Table {
	t := &Table{name: name, family: unix.NFPROTO_IPV4}
	if a.Is6() {
		t.family = unix.NFPROTO_IPV6
	}
	t.edge(unix.NFNL_MSG_BATCH_BEGIN)
	return t
}
