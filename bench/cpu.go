package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// worked is how much processor time this process, its children that have ended, and the
// daemons of peers have had so far. A machine that is busy with something else
// changes it less than it changes what a clock says.
func (b *bench) worked() (all time.Duration, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, err
		}
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for _, pid := range b.leftovers() {
		stat, err := os.ReadFile(procFile(pid, "stat"))
		if err != nil {
			continue // it has ended
		}
		// utime, stime, cutime, cstime of proc(5), after the name, in hundredths.
		for _, f := range bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[11:15] {
			n, err := strconv.Atoi(string(f))
			if err != nil {
				return 0, err
			}
			all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return all, nil
}
