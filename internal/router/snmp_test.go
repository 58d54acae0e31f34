package router

import (
	"fmt"
	"strconv"
	"strings"
)

// tcpCounter reads one of TCP's counters in the text of /proc/net/snmp: a line of
// names, and one of numbers.
func tcpCounter(text, name string) (int, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name {
				return strconv.Atoi(fields[i])
			}
		}
	}
	return 0, fmt.Errorf("no counter %s", name)
}
