package host

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/pidfd"
)

// EndSession kills what is left of a session whose leader has ended, and waits
// for it: of a shim's, the commands that make containers. The kernel has killed
// them with the shim, but a command in the middle of a system call ends only
// after that call, and may leave a cgroup behind after the sweep. The containers'
// own processes are in sessions of theirs.
//
// The leader must not have been reaped: until then no other process or session
// gets its number.
func EndSession(leader int) {
	end := time.Now().Add(deathLimit)
	ended := map[int]bool{leader: true}
	for again := true; again; { // they may have started others since
		again = false
		for _, pid := range session(leader) {
			if !ended[pid] {
				ended[pid], again = true, true
				endMember(pid, leader, end)
			}
		}
	}
}

// session gives the processes of a session.
func session(id int) []int {
	dirs, _ := os.ReadDir("/proc")
	var members []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil && isMember(pid, id) {
			members = append(members, pid)
		}
	}
	return members
}

func isMember(pid, session int) bool {
	sid, err := unix.Getsid(pid)
	return err == nil && sid == session
}

// endMember kills a process of a session and waits for its end.
func endMember(pid, session int, end time.Time) {
	fd, err := pidfd.Open(pid)
	if err == unix.ESRCH {
		return // it has ended
	}
	if err != nil { // there are no descriptors left: then without waiting
		_ = unix.Kill(pid, unix.SIGKILL)
		return
	}
	defer unix.Close(fd)
	if !isMember(pid, session) { // the number is another process's by now
		return
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	_ = pidfd.Await(fd, end)
}
