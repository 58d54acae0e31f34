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

// pss is what a process holds of the machine's memory, in KiB: its own pages,
// and of each shared one its share.
func pss(pid int) (int, error) {
	b, err := os.ReadFile(procFile(pid, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
		}
	}
	return 0, fmt.Errorf("process %d: no Pss in smaps_rollup", pid)
}
