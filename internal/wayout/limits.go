package wayout

import "time"

// What a container can have this program hold.
const (
	mostConns = 4096 // connections; one more is refused
	mostFlows = 1024 // pairs of addresses that exchange datagrams; one more is lost
	mostHeld  = 64   // SYNs that wait for a dialer; one more is accepted first

	// patience is how long a dialer may take. Linux gives up a connection after
	// about two minutes of silence.
	patience = 2 * time.Minute

	// idle is how long a flow of datagrams is kept when nothing is sent.
	idle = time.Minute

	// buffer is what one direction holds of a connection. The kernel's own,
	// which grow, make a local connection slower, not faster.
	buffer = 256 << 10
)
