// Package nft writes tables of nftables: rules for the packets of a network
// namespace. It knows the few kinds of rules that the library needs, in the
// kernel's own terms; names in quotes in comments are the nft command's.
package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// A Table is rules of one family of addresses, made in one transaction.
type Table struct {
	name   string
	family byte
	batch  netlink.Batch
}

// subsystem is the message type of a request to nftables.
func subsystem(request uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | request }

// edge opens or closes the transaction.
func (t *Table) edge(typ uint16) {
	t.batch.Begin("", typ, 0, binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES))
}

func (t *Table) begin(name string, request, flags uint16) *netlink.Batch {
	return t.batch.Begin("nftables: "+name, subsystem(request), flags|unix.NLM_F_ACK|unix.NLM_F_CREATE, []byte{t.family, unix.NFNETLINK_V0, 0, 0})
}

// New begins a table of a family: unix.NFPROTO_IPV4 or NFPROTO_IPV6.
func New(name string, family byte) *Table {
	t := &Table{name: name, family: family}
	t.edge(unix.NFNL_MSG_BATCH_BEGIN)
	t.begin("new table", unix.NFT_MSG_NEWTABLE, unix.NLM_F_EXCL).String(unix.NFTA_TABLE_NAME, name)
	return t
}

// Prerouting adds a chain that sees every packet that arrives, after connections
// are tracked and before it is known where they go ("hook prerouting priority mangle").
func (t *Table) Prerouting(chain string) {
	const mangle = -150
	t.begin("new chain", unix.NFT_MSG_NEWCHAIN, 0).String(unix.NFTA_CHAIN_TABLE, t.name).String(unix.NFTA_CHAIN_NAME, chain).
		Nest(unix.NFTA_CHAIN_HOOK).Big32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING).Big32(unix.NFTA_HOOK_PRIORITY, uint32(mangle&0xffffffff)).End().
		Big32(unix.NFTA_CHAIN_POLICY, accept).String(unix.NFTA_CHAIN_TYPE, "filter")
}

// Rule adds a rule behind the others of a chain. Its expressions are evaluated
// in order; one that does not match ends the rule.
func (t *Table) Rule(chain string, expressions ...Expression) {
	b := t.begin("new rule", unix.NFT_MSG_NEWRULE, unix.NLM_F_APPEND).String(unix.NFTA_RULE_TABLE, t.name).String(unix.NFTA_RULE_CHAIN, chain).
		Nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, add := range expressions {
		b.Nest(unix.NFTA_LIST_ELEM)
		add(b)
		b.End()
	}
	b.End()
}

// Commit makes the table, whole or not at all.
func (t *Table) Commit(s *netlink.Socket) error {
	t.edge(unix.NFNL_MSG_BATCH_END)
	return s.Do(&t.batch)
}

// Delete takes the table away again, in the same transaction: the kernel says
// only whether it could have it.
func (t *Table) Delete() {
	t.batch.Begin("nftables: delete table", subsystem(unix.NFT_MSG_DELTABLE), unix.NLM_F_ACK, []byte{t.family, unix.NFNETLINK_V0, 0, 0}).
		String(unix.NFTA_TABLE_NAME, t.name)
}
