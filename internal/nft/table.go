// Package nft writes tables of nftables: rules for the packets of a network
// namespace. It knows the few kinds of rules that the library needs, in the
// kernel's own terms; names in quotes in comments are the nft command's.
package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// A Table is rules of one family of addresses, made in one transaction.
type Table struct {
	name   string
	family byte
	owned  bool
	batch  netlink.Batch
}

// subsystem is the message type of a request to nftables.
func subsystem(request uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | request }

// edge opens or closes the transaction.
func (t *Table) edge(typ uint16) {
	t.batch.Begin("", typ, 0, binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES))
}

func (t *Table) begin(name string, request, flags uint16) *netlink.Batch {
	return t.batch.Begin(subsystemName+name, subsystem(request), flags|unix.NLM_F_ACK|unix.NLM_F_CREATE, []byte{t.family, unix.NFNETLINK_V0, 0, 0})
}

// New begins a table of a family: unix.NFPROTO_IPV4 or NFPROTO_IPV6.
func New(name string, family byte) *Table {
	t := &Table{name: name, family: family}
	t.edge(unix.NFNL_MSG_BATCH_BEGIN)
	t.begin(newTable, unix.NFT_MSG_NEWTABLE, unix.NLM_F_EXCL).String(unix.NFTA_TABLE_NAME, name)
	return t
}

// What errors call requests.
const (
	subsystemName = "nftables: "
	newTable      = "new table"
)

// Owned has the table go with the socket that it is made by, and lets no other
// program change it ("flags owner"). It comes before the first chain. Where Linux is
// older than 5.12, Commit is errdefs.ErrUnavailable.
func (t *Table) Owned() {
	const owner = 2 // NFT_TABLE_F_OWNER
	t.owned = true
	t.batch.Big32(unix.NFTA_TABLE_FLAGS, owner)
}

// Prerouting adds a chain that sees every packet that arrives, after connections
// are tracked and before it is known where they go ("hook prerouting priority mangle").
func (t *Table) Prerouting(chain string) { t.chain(chain, "filter", unix.NF_INET_PRE_ROUTING, -150) }

// Raw adds a chain that sees every packet that arrives before anything is known of it
// ("hook prerouting priority raw").
func (t *Table) Raw(chain string) { t.chain(chain, "filter", unix.NF_INET_PRE_ROUTING, -300) }

// Input adds a chain that sees what is for this namespace ("hook input priority
// filter"), Forward one that sees what is passed on, and Postrouting one that sees the
// first packet of each connection on its way out, and may change who it is from ("type
// nat hook postrouting priority srcnat").
func (t *Table) Input(chain string) { t.chain(chain, "filter", unix.NF_INET_LOCAL_IN, 0) }

// Forward is told of at Input.
func (t *Table) Forward(chain string) { t.chain(chain, "filter", unix.NF_INET_FORWARD, 0) }

// Postrouting is told of at Input.
func (t *Table) Postrouting(chain string) { t.chain(chain, "nat", unix.NF_INET_POST_ROUTING, 100) }

func (t *Table) chain(name, typ string, hook uint32, priority int32) {
	t.begin("new chain", unix.NFT_MSG_NEWCHAIN, 0).String(unix.NFTA_CHAIN_TABLE, t.name).String(unix.NFTA_CHAIN_NAME, name).
		Nest(unix.NFTA_CHAIN_HOOK).Big32(unix.NFTA_HOOK_HOOKNUM, hook).Big32(unix.NFTA_HOOK_PRIORITY, uint32(priority)).End().
		Big32(unix.NFTA_CHAIN_POLICY, accept).String(unix.NFTA_CHAIN_TYPE, typ)
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
	err := s.Do(&t.batch)
	var refused *netlink.Error
	if t.owned && errors.As(err, &refused) && refused.Request == subsystemName+newTable && refused.Errno != unix.EEXIST {
		return fmt.Errorf("the kernel lacks tables with an owner, which Linux has since 5.12: %w: %w", err, errdefs.ErrUnavailable)
	}
	return err
}

// Delete takes the table away again, in the same transaction: the kernel says
// only whether it could have it.
func (t *Table) Delete() {
	t.batch.Begin(subsystemName+"delete table", subsystem(unix.NFT_MSG_DELTABLE), unix.NLM_F_ACK, []byte{t.family, unix.NFNETLINK_V0, 0, 0}).
		String(unix.NFTA_TABLE_NAME, t.name)
}
