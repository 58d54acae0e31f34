package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	outs, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, out := range outs {
		if to, err := os.Readlink(out); err == nil && to == log {
			name += " with pid " + filepath.Base(filepath.Dir(filepath.Dir(out)))
		}
	}
	return name
}
