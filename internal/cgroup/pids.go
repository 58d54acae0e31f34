package cgroup

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PidsFree is how many more processes the cgroup may have.
func (g Group) PidsFree() int {
	if g.Dir("pids") == "" {
		return math.MaxInt
	}
	return g.PidsFile("max") - g.PidsFile("current")
}

// PidsFile reads a number of the pids controller. What is not a number is no
// limit, or a count that this kernel does not keep.
func (g Group) PidsFile(name string) int {
	b, err := os.ReadFile(filepath.Join(g.Dir("pids"), "pids."+name))
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

// PidsCount says what the limit is used for. What has ended counts until its
// parent has waited for it.
func (g Group) PidsCount(limit int) string {
	tasks := "tasks"
	if unified() {
		tasks = "cgroup.threads"
	}
	b, _ := os.ReadFile(filepath.Join(g.Dir("pids"), tasks))
	live, all := len(strings.Fields(string(b))), g.PidsFile("current")
	said := fmt.Sprintf("%d of %d", all, limit)
	if dead := all - live; dead > 0 {
		said += fmt.Sprintf(" (%d have ended and their parent does not wait for them)", dead)
	}
	return said
}

// SetPidsMax sets the limit of processes.
func (g Group) SetPidsMax(n int) {
	write(g.Dir("pids"), "pids.max", strconv.Itoa(n))
}
