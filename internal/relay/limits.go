package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	patience = 30 * time.Second // of a dialer
	idle     = time.Minute      // of a flow of datagrams

	mostConns = 4096
	mostFlows = 1024
)

// Connections is how many connections one container or one published port may
// have open at a time, each of which takes two descriptors: 4096, but never more
// than a quarter of what this program may open.
func Connections() int { return most(mostConns) }

// Flows is that of datagrams: 1024, with the same bound.
func Flows() int { return most(mostFlows) }

func most(n int) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return n
	}
	return int(max(1, min(uint64(n), l.Cur/4/2)))
}
