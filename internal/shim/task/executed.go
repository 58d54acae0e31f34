package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// An executor's answer that a process was started means that what the executor
// forked is about to execute the command. If the kernel does not let it, what was
// forked ends with a code and words of its own, which would pass for the command's.
// The kernel knows the difference until the process is reaped.

// forkNoExec is PF_FORKNOEXEC of the kernel's include/linux/sched.h, in the
// flags of a process: it was forked, and has executed nothing since.
const forkNoExec = 0x40

// progress is how far a process has come on its way to the command.
type progress struct{ executed, ended bool }

// progressOf reads it, of a process that can't be reaped meanwhile:
// proc_pid_stat(5). What can't be read has been executed: nothing else is known
// of a process.
func progressOf(pid int) progress {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	// Its name is what it likes, and in parentheses.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const state, flags = 0, 6
	if len(fields) <= flags {
		return progress{executed: true}
	}
	n, err := strconv.ParseUint(string(fields[flags]), 10, 64)
	return progress{executed: err != nil || n&forkNoExec == 0, ended: bytes.ContainsAny(fields[state], "ZX")}
}

// errUnexecuted is the error of a process that has ended without having executed
// its command.
var errUnexecuted = errors.New("it was not executed")

// awaitExec waits until a process has executed its command, which takes the
// kernel some tenths of a millisecond as a rule. If it ends without having done
// so, that is errUnexecuted.
func awaitExec(ctx context.Context, look func() progress) error {
	// What is looked at late is told late: by no more than a quarter of the time.
	for pause := 50 * time.Microsecond; ; pause = min(pause+pause/4, 2*time.Millisecond) {
		switch now := look(); {
		case now.executed:
			return nil
		case now.ended:
			return errUnexecuted
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refused says why a process has ended without having executed its command, as
// far as that can be told.
func (c *container) refused(name string, ws unix.WaitStatus) error {
	switch {
	case ws.Signaled() && c.cgroup().OOMKills() > 0:
		return fmt.Errorf("out of memory before %q could run: raise the memory limit: %w", name, errdefs.ErrUnavailable)
	case ws.Signaled():
		return fmt.Errorf("%q was ended by signal %d before it could run: %w", name, ws.Signal(), errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("exec: %q: the kernel does not execute it: its format, its interpreter or the length of its arguments is at fault: %w", name, errdefs.ErrInvalidArgument)
}
