package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// patience is how long Settle waits. A shim undoes its containers within a
// second, unless the host is very busy.
const patience = 15 * time.Second

// Settle waits for the attached shims of a program that was killed, whose log
// is given: they may still be undoing its containers, and whoever touches
// those meanwhile is in their way.
func Settle(ctx context.Context, log string) error {
	f, err := os.Open(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("%s of an earlier program is still ending its containers (%w): if it hangs, kill it", holders(log), errdefs.ErrUnavailable)
		}
	}
}

// holders names the processes that write a log.
func holders(log string) string {
	name := "the " + link.Name
	for _, pid := range writers(log) {
		name += " with pid " + strconv.Itoa(pid)
	}
	return name
}

// writers finds the processes that write a log, under whatever path.
func writers(log string) (pids []int) {
	file, err := os.Stat(log)
	if err != nil {
		return nil
	}
	outs, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, out := range outs {
		// By name first: a look at any file may hang, on a dead server's.
		if to, err := os.Readlink(out); err != nil || filepath.Base(to) != filepath.Base(log) {
			continue
		}
		if st, err := os.Stat(out); err != nil || !os.SameFile(st, file) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(out)))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
