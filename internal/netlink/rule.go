package netlink

import "golang.org/x/sys/unix"

// after is behind the tables that every namespace has.
const after = 1 << 15

// MarkedBy has a table of IPv4 routes asked for packets that have a mark and that no
// other route is for.
func (b *Batch) MarkedBy(mark uint32, table byte) *Batch {
	return b.rule(table).Uint32(unix.FRA_FWMARK, mark)
}

// FromHere has it asked for what the namespace's own sockets send.
func (b *Batch) FromHere(table byte) *Batch {
	return b.rule(table).String(unix.FRA_IIFNAME, "lo")
}

func (b *Batch) rule(table byte) *Batch {
	header := []byte{unix.AF_INET, 0, 0, 0, table, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0} // struct fib_rule_hdr
	return b.Begin("add rule", unix.RTM_NEWRULE, create, header).Uint32(unix.FRA_PRIORITY, after)
}
