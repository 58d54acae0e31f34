// Package restart is when a container that has ended is to live again: the policies
// and the pauses, which are Docker's (daemon/internal/restartmanager). The program
// and the shim that goes on without it decide by the same code.
package restart

import (
	"fmt"
	"time"

	"github.com/ctorhq/ctor/internal/journal"
)

// Policy says after which ends there is a next life. Positive means after a failure,
// so many times at most.
type Policy int

// The policies.
const (
	No            Policy = 0
	Always        Policy = -1
	UnlessStopped Policy = -2
	OnFailure     Policy = -3 // without a bound
)

// Valid tells whether p is one of them.
func (p Policy) Valid() bool { return p >= OnFailure }

// Wants tells whether a container is to live again of which a journal says that.
func (p Policy) Wants(past journal.Past) bool {
	switch {
	case past.Stopped || past.Lives == 0 || p == No:
		return false
	case p == Always || p == UnlessStopped:
		return true
	case past.Code() == 0:
		return false
	}
	return p == OnFailure || past.Restarts < int(p)
}

// String is the policy in Docker's words.
func (p Policy) String() string {
	switch {
	case p == No:
		return "no"
	case p == Always:
		return "always"
	case p == UnlessStopped:
		return "unless-stopped"
	case p == OnFailure:
		return "on-failure"
	}
	return fmt.Sprintf("on-failure:%d", int(p))
}

// Docker's pauses.
const (
	first  = 100 * time.Millisecond
	last   = time.Minute
	stable = 10 * time.Second
)

// Pauses gives how long to wait before each next life.
type Pauses struct{ next time.Duration }

// After is the pause after a life of that length: a tenth of a second, and twice as
// much each time, up to a minute; from the beginning again after ten seconds of
// life.
func (p *Pauses) After(lived time.Duration) time.Duration {
	if p.next == 0 || lived >= stable {
		p.next = first
	}
	pause := p.next
	p.next = min(2*pause, last)
	return pause
}
