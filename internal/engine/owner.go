package engine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Owner names this process in a way that no later process has: the boot, the
// pid namespace, the pid, and the tick of the boot at which it started.
var Owner = sync.OnceValue(func() string { return ownerOf(os.Getpid()) })

// Alive tells whether the process that Owner named still runs. Of one in
// another pid namespace nothing can be known, so it is taken to run.
func Alive(owner string) bool {
	parts := strings.Split(owner, "/")
	if len(parts) != 4 || parts[0] != boot() {
		return false
	}
	if parts[1] != pidNamespace() {
		return true
	}
	pid, err := strconv.Atoi(parts[2])
	return err == nil && ownerOf(pid) == owner
}

func boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(b))
}

// pidNamespace gives the number in "pid:[4026531836]".
func pidNamespace() string {
	link, _ := os.Readlink("/proc/self/ns/pid")
	return strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
}

// exiting tells whether a process has begun to end.
func exiting(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || begunToExit(stat)
}

// begunToExit reads from a proc_pid_stat(5) what the kernel notes of that, in
// field 9: PF_EXITING.
func begunToExit(stat []byte) bool {
	const pfExiting = 0x4
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err == nil && flags&pfExiting != 0
}

func ownerOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	start, ok := started(stat)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d/%s", boot(), pidNamespace(), pid, start)
}

// started reads from a proc_pid_stat(5) when a process was started. A zombie
// is dead: its parent may never wait for it.
func started(stat []byte) (string, bool) {
	// The name, field 2, is in parentheses and may hold anything; the state is
	// field 3 and starttime field 22.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || bytes.ContainsAny(fields[0], "ZXx") {
		return "", false
	}
	return string(fields[19]), true
}
