package lan

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// routes are where this host's routes of IPv4 lead, as proc_net_route(5) lists them, but
// for those that are as wide as all of our subnets together: a way to everywhere, or to a
// private network as a whole.
func routes() (all []netip.Prefix) {
	list, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil // there is no IPv4
	}
	for line := range strings.Lines(string(list)) {
		const destination, mask = 1, 7
		fields := strings.Fields(line)
		if len(fields) <= mask {
			continue
		}
		to, err := strconv.ParseUint(fields[destination], 16, 32)
		if err != nil {
			continue // the heading
		}
		length, err := strconv.ParseUint(fields[mask], 16, 32)
		if err != nil {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], uint32(to)) // printed as the machine has it
		if n := bits.OnesCount64(length); n > pool4.Bits() {
			all = append(all, netip.PrefixFrom(netip.AddrFrom4(a), n))
		}
	}
	return all
}
