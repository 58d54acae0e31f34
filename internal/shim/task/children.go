package task

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// children are those of this process. It is a subreaper, so it gets some that
// it did not start: what a container without a pid namespace of its own leaves
// behind, and what a killed command leaves. Nothing waits for those orphans, so
// they would stay zombies.
//
// An orphan can't be recognized. But the children that something waits for are
// known, except those of an executor's call under way: so orphans are reaped while
// there is no call. Children belong to the process: this is the one thing that all
// services in a process share.
var children = &family{known: map[int]bool{}}

type family struct {
	mu       sync.Mutex
	busy     int          // calls under way
	known    map[int]bool // pids that are waited for
	dirty    bool         // there may be orphans
	watching int          // reasons to look whenever a child ends
	end      chan os.Signal
}

// enter begins a call of an executor; the returned function ends it.
func (f *family) enter() func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy++
	return f.leave
}

func (f *family) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.reap()
}

// know notes a child that is waited for, before the call that made it ends.
func (f *family) know(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[pid] = true
}

// end is what is known of a process that has been reaped.
type end struct {
	ws       unix.WaitStatus
	executed bool // it had executed its command
	reaped   bool
}

// wait reaps a known child if it has ended, notes how, and tells whether there
// is nothing to wait for any more.
func (f *family) wait(p Process, how *end) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var info unix.Siginfo
	err = unix.Waitid(unix.P_PID, p.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err == nil && info.Signo == 0 {
		return false, nil
	}
	delete(f.known, p.Pid)
	how.reaped = true
	if err == nil {
		how.executed = progressOf(p.Pid).executed
		how.ws, err = p.wait()
	}
	return true, err
}

// progress is how far a known child has come, or had when it was reaped.
func (f *family) progress(pid int, how *end) progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	if how.reaped {
		return progress{executed: how.executed, ended: true}
	}
	return progressOf(pid)
}

// forget notes that a child was waited for otherwise.
func (f *family) forget(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, pid)
}

// suspicion is how long orphans of a create that failed are looked for. A command
// that fails may leave a process that ends a little later than it.
const suspicion = time.Minute

// suspect has orphans looked for after a create that failed, until its service ends;
// those of execs are looked for as long as their container lives. It matters more than
// it seems: the first process of a pid namespace does not end before all others of it
// have been waited for.
func (f *family) suspect(ending context.Context) {
	f.adopt()
	suspected, cancel := context.WithTimeout(ending, suspicion)
	context.AfterFunc(suspected, func() {
		cancel()
		f.dismiss()
	})
}

// look looks for orphans, as soon as no call is under way.
func (f *family) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty = true
	f.reap()
}

// adopt begins to look for orphans whenever a child has ended.
func (f *family) adopt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty = true // some may have ended already
	if f.watching++; f.watching > 1 {
		return
	}
	ended := make(chan os.Signal, 1)
	f.end = ended
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			f.look()
		}
	}()
}

// dismiss ends what adopt began.
func (f *family) dismiss() {
	f.look()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching--; f.watching == 0 {
		signal.Stop(f.end)
		close(f.end)
	}
}

func (f *family) reap() {
	if f.busy > 0 || !f.dirty {
		return
	}
	f.dirty = false
	lists, _ := filepath.Glob("/proc/self/task/[0-9]*/children")
	for _, l := range lists {
		b, _ := os.ReadFile(l) // it may be gone: threads end
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil && !f.known[pid] {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
}
