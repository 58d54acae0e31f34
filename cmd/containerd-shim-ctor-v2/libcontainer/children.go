package libcontainer

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// children are the processes that a thread of this process has forked and
// nobody has waited for, unless the kernel lacks CONFIG_PROC_CHILDREN: then
// it seems to have none.
func children(tid int) map[int]bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", tid))
	if err != nil {
		return nil
	}
	pids := map[int]bool{}
	for field := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids[pid] = true
		}
	}
	return pids
}

// kill kills a child of the thread, and nothing else that may have its number
// by now.
func kill(tid, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if children(tid)[pid] {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// reap kills and waits for the children of the thread that are not among
// before. libcontainer leaves some when it fails early: as a command it can
// leave them to init.
func reap(tid int, before map[int]bool) {
	// The one that is killed may just have had another forked for the thread.
	for reapOnce(tid, before) {
	}
}

func reapOnce(tid int, before map[int]bool) (found bool) {
	for pid := range children(tid) {
		if before[pid] {
			continue
		}
		found = true
		kill(tid, pid)
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
				break
			}
		}
	}
	return found
}
