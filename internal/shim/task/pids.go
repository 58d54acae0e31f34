package task

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// Until it executes the command, a process that is started in a container is the
// executor's, with threads and children of its own, and these count as the
// container's. Where the limit of processes is near the kernel refuses one of
// them, now and then, and each executor fails in its own way: some just crash.

// startNeeds is how many processes and threads an executor has at most in a
// container for one start. runc's init has about ten.
const startNeeds = 24

// atLimit gives the error of a start its reason, if that was the limit of
// processes: call the returned function with it, with the limit as it was.
func (c *container) atLimit(name string) (why func(error) error) {
	g := c.cgroup()
	if g.pidsFree() >= startNeeds {
		return func(err error) error { return err }
	}
	refused, limit := g.pidsFile("events"), g.pidsFile("max")
	return func(err error) error {
		if err == nil || g.pidsFile("events") <= refused {
			return err
		}
		return fmt.Errorf("%q can't start at the container's limit of processes, %s: raise the limit, or end some: %w: %v",
			name, g.pidsCount(limit), errdefs.ErrUnavailable, err)
	}
}

// allowance is what a container's limit of processes is raised by while one is
// added to it: for the executor, so that what the limit has room for starts. The
// container may take of it what the executor does not, and keep that, but no
// more than once: it counts from the limit, not from what there is.
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
	if a.starts == 0 && g.pidsFree() >= startNeeds {
		return func() {}
	}
	a.change(g, 1)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.change(g, -1)
	}
}

// change is called with mu held. What is not in force any more as it was left was
// changed by somebody else, and is the limit now.
func (a *allowance) change(g cgroup, n int) {
	now := g.pidsFile("max")
	if a.starts == 0 || now != a.limit+a.starts*startNeeds {
		a.limit = now
	}
	a.starts += n
	if a.limit > 0 && a.limit < math.MaxInt32 {
		_ = os.WriteFile(filepath.Join(g.dir("pids"), "pids.max"), strconv.AppendInt(nil, int64(a.limit+a.starts*startNeeds), 10), 0)
	}
}

// pidsFree is how many processes the container may have beside those it has.
func (g cgroup) pidsFree() int {
	if g.dir("pids") == "" {
		return math.MaxInt
	}
	return g.pidsFile("max") - g.pidsFile("current")
}

// pidsFile reads a number of the pids controller: what is no number is no limit,
// or a count that this kernel does not keep.
func (g cgroup) pidsFile(name string) int {
	b, err := os.ReadFile(filepath.Join(g.dir("pids"), "pids."+name))
	text := strings.TrimSpace(string(b))
	if name == "events" {
		text = strings.TrimPrefix(text, "max ") // how often the limit was met
	}
	n, perr := strconv.Atoi(text)
	if name == "max" && (err != nil || perr != nil) {
		return math.MaxInt
	}
	return n
}

// pidsCount says what the limit is used for. What has ended counts until its
// parent has waited for it.
func (g cgroup) pidsCount(limit int) string {
	tasks := "tasks"
	if unified() {
		tasks = "cgroup.threads"
	}
	b, _ := os.ReadFile(filepath.Join(g.dir("pids"), tasks))
	live, all := len(strings.Fields(string(b))), g.pidsFile("current")
	said := fmt.Sprintf("%d of %d", all, limit)
	if dead := all - live; dead > 0 {
		said += fmt.Sprintf(" (%d have ended and their parent does not wait for them)", dead)
	}
	return said
}
