package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/pidfd"
)

// deathLimit is how long killed processes may take to end. They need a turn on
// a processor for it, and a host may be very busy.
const deathLimit = 15 * time.Second

// KillDescendants kills what a process has started, what that has started, and so
// on, and does not wait for their end. It leaves the process itself alone, which
// the caller has stopped and which must not end before KillDescendants returns.
//
// A process whose parent has ended is found by its session, which the root must
// lead. So a daemon, which has left both, is not found.
func KillDescendants(root int) error {
	t := tree{root: root, found: map[int]uint64{}, began: time.Now()}
	// A stopped process starts no others, and one that is being stopped may still finish
	// a fork that it was in. So what a look finds after all that were found had stopped is
	// all of them.
	end := t.began.Add(deathLimit)
	for settled := false; ; {
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("process %d: its descendants multiply faster than they can be stopped", root), t.signal(unix.SIGKILL))
		}
		more, still, err := t.stop()
		switch {
		case err != nil:
			return errors.Join(err, t.signal(unix.SIGKILL))
		case settled && !more:
			return t.signal(unix.SIGKILL)
		case !more && !still: // they need a turn on a processor
			time.Sleep(time.Millisecond)
		}
		settled = still && !more
	}
}

// tree is a process, and what of its descendants was found.
type tree struct {
	root  int
	found map[int]uint64 // their births, by pid
	began time.Time
}

// stop looks for descendants, stops them, and tells whether there were more, and whether
// those that were found before, and the root, stood still.
func (t *tree) stop() (more, still bool, err error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return false, false, err
	}
	all := map[int]relatives{}
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil && pid != t.root {
			if r, ok := relativesOf(pid); ok {
				all[pid] = r
			}
		}
	}
	r, ok := relativesOf(t.root)
	still = !ok || t.still(r)
	for pid, r := range all {
		still = still && (!t.has(pid, r) || t.still(r))
	}
	for again := true; again; {
		again = false
		for pid, r := range all {
			if t.has(pid, r) || !t.begot(r) {
				continue
			}
			t.found[pid] = r.born
			if err := t.tell(pid, unix.SIGSTOP); err != nil {
				return false, false, err
			}
			again, more = true, true
		}
	}
	return more, still, nil
}

// still tells whether a process has stopped or ended. One that does not for a while, and
// sleeps where no signal wakes it, is in a container that is paused, as a rule.
func (t *tree) still(r relatives) bool {
	const pause = 100 * time.Millisecond
	return bytes.IndexByte([]byte("TtZX"), r.state) >= 0 || r.state == 'D' && time.Since(t.began) > pause
}

func (t *tree) has(pid int, r relatives) bool {
	born, ok := t.found[pid]
	return ok && born == r.born
}

func (t *tree) begot(r relatives) bool {
	_, child := t.found[r.parent]
	return child || r.parent == t.root || r.session == t.root
}

func (t *tree) signal(sig unix.Signal) error {
	var errs []error
	for pid := range t.found {
		errs = append(errs, t.tell(pid, sig))
	}
	return errors.Join(errs...)
}

// tell sends a signal, unless the number means another process by now.
func (t *tree) tell(pid int, sig unix.Signal) error {
	err := pidfd.Signal(pid, sig, func() bool {
		r, ok := relativesOf(pid)
		return ok && t.has(pid, r)
	})
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	return nil
}

// relatives are a process's parent and session, and how it is.
type relatives struct {
	parent, session int
	born            uint64 // in clock ticks since the host's start
	state           byte
}

// relativesOf reads proc_pid_stat(5); false means that there is no such process.
func relativesOf(pid int) (relatives, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return relatives{}, false
	}
	// The name, in parentheses, may hold anything.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return relatives{}, false
	}
	parent, err1 := strconv.Atoi(string(f[1]))
	session, err2 := strconv.Atoi(string(f[3]))
	born, err3 := strconv.ParseUint(string(f[19]), 10, 64)
	return relatives{parent, session, born, f[0][0]}, errors.Join(err1, err2, err3) == nil
}
