package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// matching are the processes that a test holds for.
func matching(test func(pid int) bool) []int {
	var pids []int
	for _, pid := range processes() {
		if test(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent is the parent of a process, 0 if it is gone.
func parent(pid int) int {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0
	}
	// The name, field 2, is in parentheses and may hold anything.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	ppid, _ := strconv.Atoi(string(f[1]))
	return ppid
}

// resident gives what a line of this process's status says of its memory, in
// KiB. reset makes VmHWM, the most that it was, begin again.
func resident(line string, reset bool) (int, error) {
	if reset {
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
			return 0, err
		}
	}
	return kib(os.Getpid(), "status", line)
}

// pss is what a process holds of the machine's memory, in KiB: its own pages,
// and of each shared one its share.
func pss(pid int) (int, error) { return kib(pid, "smaps_rollup", "Pss:") }

// kib reads a number of KiB in a file of a process.
func kib(pid int, file, name string) (int, error) {
	b, err := os.ReadFile(procFile(pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
		}
	}
	return 0, fmt.Errorf("process %d: no %s in %s", pid, name, file)
}
