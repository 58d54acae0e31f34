package nfttest

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// Redirect has the calling thread's namespace send elsewhere what arrives for an address
// of IPv4, as hosts do with Kubernetes' services ("dnat to"). It lasts as long as the
// namespace, or until Flush.
func Redirect(from, to netip.Addr) error {
	const chain = "prerouting"
	table := from.String()
	request := func(b *netlink.Batch, name string, typ, flags uint16) *netlink.Batch {
		return b.Begin(name, unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags|unix.NLM_F_ACK|unix.NLM_F_CREATE, []byte{unix.NFPROTO_IPV4, unix.NFNETLINK_V0, 0, 0})
	}
	return transaction(func(b *netlink.Batch) {
		request(b, "new table", unix.NFT_MSG_NEWTABLE, unix.NLM_F_EXCL).String(unix.NFTA_TABLE_NAME, table)
		request(b, "new chain", unix.NFT_MSG_NEWCHAIN, 0).String(unix.NFTA_CHAIN_TABLE, table).String(unix.NFTA_CHAIN_NAME, chain).
			Nest(unix.NFTA_CHAIN_HOOK).Big32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING).Big32(unix.NFTA_HOOK_PRIORITY, 1<<32-100).End().
			String(unix.NFTA_CHAIN_TYPE, "nat")
		request(b, "new rule", unix.NFT_MSG_NEWRULE, unix.NLM_F_APPEND).String(unix.NFTA_RULE_TABLE, table).String(unix.NFTA_RULE_CHAIN, chain).
			Nest(unix.NFTA_RULE_EXPRESSIONS)
		expression := func(name string) *netlink.Batch {
			return b.Nest(unix.NFTA_LIST_ELEM).String(unix.NFTA_EXPR_NAME, name).Nest(unix.NFTA_EXPR_DATA)
		}
		expression("payload").Big32(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1).Big32(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER).
			Big32(unix.NFTA_PAYLOAD_OFFSET, 16).Big32(unix.NFTA_PAYLOAD_LEN, 4).End().End()
		expression("cmp").Big32(unix.NFTA_CMP_SREG, unix.NFT_REG_1).Big32(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ).
			Nest(unix.NFTA_CMP_DATA).Attr(unix.NFTA_DATA_VALUE, from.AsSlice()).End().End().End()
		expression("immediate").Big32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1).
			Nest(unix.NFTA_IMMEDIATE_DATA).Attr(unix.NFTA_DATA_VALUE, to.AsSlice()).End().End().End()
		expression("nat").Big32(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT).Big32(unix.NFTA_NAT_FAMILY, unix.NFPROTO_IPV4).
			Big32(unix.NFTA_NAT_REG_ADDR_MIN, unix.NFT_REG_1).End().End()
		b.End()
	})
}
