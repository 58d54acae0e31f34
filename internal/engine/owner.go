package engine

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Owner names this process in a way that no later process has: the boot, the
// pid, and the tick of the boot at which it started.
func Owner() string { return ownerOf(os.Getpid()) }

// Alive tells whether the process that Owner named still runs.
func Alive(owner string) bool {
	parts := strings.Split(owner, "/")
	if len(parts) != 3 {
		return false
	}
	var pid int
	if _, err := fmt.Sscan(parts[1], &pid); err != nil {
		return false
	}
	return ownerOf(pid) == owner
}

func ownerOf(pid int) string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// proc_pid_stat(5): the name, field 2, is in parentheses and may hold
	// anything; starttime is field 22.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return fmt.Sprintf("%s/%d/%s", bytes.TrimSpace(boot), pid, fields[19])
}
