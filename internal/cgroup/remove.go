package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/pidfd"
)

// Remove kills what runs in a cgroup or below and removes it, from every
// hierarchy. Children named in keep stay as they are, and the cgroup with them, also
// while there are none: their container may be between two lives. A cgroup that does
// not exist is no error.
func Remove(path string, keep ...string) error {
	path = filepath.Join("/", path)
	if path == "/" {
		return fmt.Errorf("remove cgroup: the root holds the whole host: %w", errdefs.ErrInvalidArgument)
	}
	found, err := hierarchies()
	if err != nil {
		return err
	}
	if len(keep) == 0 && vanished(found, path) {
		return nil
	}
	for _, h := range found {
		quell(filepath.Join(h, path), keep)
	}
	var errs []error
	end := time.Now().Add(deathLimit)
	for _, h := range found {
		errs = append(errs, remove(filepath.Join(h, path), keep, end))
	}
	return errors.Join(errs...)
}

// vanished removes a cgroup from the hierarchies in which it is empty, and tells
// whether it is in none any more. As a rule the runtime has removed it, and each of
// the files that quell would look for costs a walk through the hierarchy.
func vanished(hierarchies []string, path string) bool {
	all := true
	for _, h := range hierarchies {
		if err := unix.Rmdir(filepath.Join(h, path)); err != nil && err != unix.ENOENT {
			all = false
		}
	}
	return all
}

// quell makes sure that killing comes to an end. Processes in a cgroup and below
// can't fork any more, are killed at once where the kernel can do that (v2 since
// Linux 5.14), and are thawed, since frozen processes don't die on v1. Each step
// may fail: then killing takes longer.
func quell(dir string, keep []string) {
	children, _ := os.ReadDir(dir)
	for _, c := range children {
		if c.IsDir() && !slices.Contains(keep, c.Name()) {
			quell(filepath.Join(dir, c.Name()), nil)
		}
	}
	if len(keep) > 0 {
		return // what is in the cgroup itself stays
	}
	for _, f := range []struct{ name, word string }{
		{"pids.max", "0"}, {"cgroup.kill", "1"}, {"freezer.state", "THAWED"},
	} {
		write(dir, f.name, f.word)
	}
}

// RemoveEmpty removes a cgroup from every hierarchy in which it is empty: what it
// holds elsewhere may be in use.
func RemoveEmpty(path string) {
	path = filepath.Join("/", path)
	found, _ := hierarchies()
	for _, h := range found {
		if path != "/" {
			_ = unix.Rmdir(filepath.Join(h, path))
		}
	}
}

func remove(dir string, keep []string, end time.Time) error {
	children, err := os.ReadDir(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range children {
		if c.IsDir() && !slices.Contains(keep, c.Name()) {
			errs = append(errs, remove(filepath.Join(dir, c.Name()), nil, end))
		}
	}
	if len(keep) > 0 {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, empty(dir, end))...)
}

// deathLimit is how long killed processes may take to end. They need a turn on
// a processor for it, and a host may be very busy.
const deathLimit = 15 * time.Second

// empty kills the processes of one cgroup until it can be removed. That takes
// more than one try: the kernel keeps the dead a moment longer than it tells.
func empty(dir string, end time.Time) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		pids, err := members(dir)
		if err != nil {
			return err
		}
		if err := kill(pids, dir, end); err != nil {
			return err
		}
		err = unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY || time.Now().After(end) {
			return fmt.Errorf("%w (it holds processes %v)", &fs.PathError{Op: "rmdir", Path: dir, Err: err}, pids)
		}
		if len(pids) == 0 {
			time.Sleep(pause)
		}
	}
}

// batch is how many processes are killed at a time: there may be more of them
// than the program can have files open.
const batch = 256

// kill kills members of a cgroup, a batch of them before it waits for any.
func kill(pids []int, dir string, end time.Time) error {
	pids = pids[:min(len(pids), batch)]
	fds := map[int]int{} // by pid
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, err := pidfd.Open(pid)
		switch {
		case err == nil:
			fds[pid] = fd
		case !errors.Is(err, unix.ESRCH):
			return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
		}
	}
	// By now a number may be another process's. If it is still on the list, what
	// was opened is a member.
	still, err := members(dir)
	if err != nil {
		return err
	}
	for pid, fd := range fds {
		if !slices.Contains(still, pid) {
			unix.Close(fd)
			delete(fds, pid)
		} else if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d in %s: %w", pid, dir, err)
		}
	}
	for _, fd := range fds {
		if err := pidfd.Await(fd, end); err != nil {
			return err
		}
	}
	return nil
}
