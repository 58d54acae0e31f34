package task

import (
	"fmt"
	"math"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// Until it executes the command, a process that is started in a container is the
// executor's, with threads and children of its own, and these count as the
// container's. Near the limit of processes the kernel sometimes refuses one of them,
// and each executor fails in its own way: some just crash.

// startNeeds is how many processes and threads an executor has at most in a
// container for one start. runc's init has about ten.
const startNeeds = 24

// atLimit gives the error of a start its reason, if that was the limit of
// processes: call the returned function with it, with the limit as it was.
func (c *container) atLimit(name string) (why func(error) error) {
	g := c.cgroup()
	if g.PidsFree() >= startNeeds {
		return func(err error) error { return err }
	}
	refused, limit := g.PidsFile("events"), g.PidsFile("max")
	return func(err error) error {
		if err == nil || g.PidsFile("events") <= refused {
			return err
		}
		return c.refusedAt(limit, name, err)
	}
}

// atFirstLimit is atLimit for the error of a start of the first process, before which
// nothing was refused in its cgroup.
func (c *container) atFirstLimit(name string, err error) error {
	g := c.cgroup()
	if err == nil || g.PidsFile("events") == 0 {
		return err
	}
	return c.refusedAt(g.PidsFile("max"), name, err)
}

// refusedAt says that a start failed at a limit.
func (c *container) refusedAt(limit int, name string, err error) error {
	return fmt.Errorf("%q can't start at the container's limit of processes, %s: raise the limit, or end some: %w: %v",
		name, c.cgroup().PidsCount(limit), errdefs.ErrUnavailable, err)
}

// allowance is what a container's limit of processes is raised by while one is
// added to it: for the executor, so that what the limit has room for starts. The
// container may take what the executor leaves of it, but only once: it counts from
// the limit, not from what there is.
type allowance struct {
	mu     sync.Mutex
	starts int // under way
	limit  int // without it
}

// makeRoom raises the limit where it is near, until the returned function is
// called.
func (c *container) makeRoom() (done func()) {
	a, g := &c.allowance, c.cgroup()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.starts == 0 && g.PidsFree() >= startNeeds {
		return func() {}
	}
	a.change(g, 1)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.change(g, -1)
	}
}

// change is called with mu held. A limit that is not as it was left
// was changed from outside, and is the limit now.
func (a *allowance) change(g cgroup.Group, n int) {
	now := g.PidsFile("max")
	if a.starts == 0 || now != a.limit+a.starts*startNeeds {
		a.limit = now
	}
	a.starts += n
	if a.limit > 0 && a.limit < math.MaxInt32 {
		g.SetPidsMax(a.limit + a.starts*startNeeds)
	}
}
