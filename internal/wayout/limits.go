package wayout

import "time"

// What a container can have this program hold, beside the connections and flows
// that package relay bounds.
const (
	mostHeld    = 64      // SYNs that wait for a dialer, or whose connection was dialled and not opened; one more is accepted first
	mostFirst   = 1 << 20 // bytes of first datagrams that wait for a dialer; more are lost
	mostNames   = 1 << 16 // names that have an address
	mostLetters = 4 << 20 // bytes of those names
	mostQuery   = 1 << 10 // bytes of a query

	// patience is how long a dialer may take. Linux gives up a connection after
	// about two minutes of silence.
	patience = 2 * time.Minute

	// opening is how long a connection that was dialled waits for the container
	// to open its half, which it does at once.
	opening = 3 * time.Second

	// idle is how long a flow of datagrams is kept when nothing is sent, and
	// asking how long a connection to the resolver is.
	idle   = time.Minute
	asking = 10 * time.Second
)
