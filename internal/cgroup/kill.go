package cgroup

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/pidfd"
)

// killPatience is how long killed processes may take to be gone.
const killPatience = 5 * time.Second

// Kill kills all processes, also those that are started while it works, and waits
// until none is left.
func (g Group) Kill() {
	for _, c := range []string{"pids", "freezer"} {
		if dir := g.Dir(c); dir != "" {
			quell(dir, nil)
		}
	}
	deadline := time.Now().Add(killPatience)
	for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = g.Signal(pid, unix.SIGKILL)
		}
		time.Sleep(pause)
	}
}

// Signal sends a signal to one of the processes. If the number means another
// process by now, that process gets none.
func (g Group) Signal(pid int, sig unix.Signal) error {
	return pidfd.Signal(pid, sig, func() bool { return g.holds(pid) })
}

// write writes a word into one of a cgroup's files, if the cgroup has it.
func write(dir, name, word string) {
	if f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(word)
		f.Close()
	}
}
