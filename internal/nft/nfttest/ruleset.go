// Package nfttest tells tests which rules of nftables a namespace has, and takes them
// away.
package nfttest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
)

// Ruleset gives all tables, chains, rules, sets and their kin of the calling
// thread's namespace, as the kernel lists them. Counts of packets are not part of it
// where no rule counts.
func Ruleset(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	require.NoError(t, err)
	defer unix.Close(fd)
	var all strings.Builder
	for _, list := range []uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETOBJ, unix.NFT_MSG_GETFLOWTABLE} {
		dump(t, fd, list, &all)
	}
	return all.String()
}

// dump lists all there is of a kind. A kernel without nftables has none.
func dump(t testing.TB, fd int, list uint16, all *strings.Builder) {
	var b netlink.Batch
	b.Begin("list", unix.NFNL_SUBSYS_NFTABLES<<8|list, unix.NLM_F_DUMP, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0})
	require.NoError(t, unix.Sendto(fd, b.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		require.NoError(t, err)
		for typ, body := range netlink.Messages(buf[:n]) {
			switch typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return
			}
			const header = 4 // family, version, and the ruleset's generation, which every change counts up
			fmt.Fprintf(all, "%d of family %d:", typ, body[0])
			for attr, data := range netlink.Attrs(body[header:]) {
				fmt.Fprintf(all, " %d=%q", attr, data)
			}
			all.WriteByte('\n')
		}
	}
}

// Flush takes all tables of the calling thread's namespace away, as "nft flush
// ruleset" does.
func Flush() error {
	return transaction(func(b *netlink.Batch) {
		b.Begin("flush", unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0})
	})
}

// transaction makes changes of the calling thread's namespace.
func transaction(changes func(*netlink.Batch)) error {
	var b netlink.Batch
	edge := func(typ uint16) {
		b.Begin("", typ, 0, binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES))
	}
	edge(unix.NFNL_MSG_BATCH_BEGIN)
	changes(&b)
	edge(unix.NFNL_MSG_BATCH_END)
	return netlink.Do(unix.NETLINK_NETFILTER, &b)
}
