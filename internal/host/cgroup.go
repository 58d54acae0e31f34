package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// CgroupParent is the cgroup, in every hierarchy, under which an engine keeps
// those of its containers. It differs from engine to engine: two may have
// containers of one name.
func CgroupParent(root, namespace string) string {
	h := sha256.Sum256([]byte(root + "\x00" + namespace))
	return "/ctor-" + hex.EncodeToString(h[:6])
}

// RemoveCgroup kills what runs in a cgroup or below and removes it, from every
// hierarchy. Children named in keep stay as they are, and the cgroup with them.
// One that does not exist is no error.
func RemoveCgroup(path string, keep ...string) error {
	path = filepath.Join("/", path)
	if path == "/" {
		return fmt.Errorf("remove cgroup: the root holds the whole host: %w", errdefs.ErrInvalidArgument)
	}
	found, err := hierarchies()
	if err != nil {
		return err
	}
	// What freezes has a hierarchy of its own: before anything else. Then the
	// one that can keep a fork bomb from outrunning the killing.
	var first, others []string
	for _, h := range found {
		dir := filepath.Join(h, path)
		thaw(dir, keep)
		if unix.Access(filepath.Join(dir, "pids.max"), unix.F_OK) == nil {
			first = append(first, dir)
		} else {
			others = append(others, dir)
		}
	}
	end := time.Now().Add(deathLimit)
	var errs []error
	for _, dir := range append(first, others...) {
		errs = append(errs, removeCgroup(dir, keep, end))
	}
	return errors.Join(errs...)
}

// thaw lets the frozen go on, but for the children named in keep: on v1 they do
// not even die. An error shows when the cgroup can't be emptied.
func thaw(dir string, keep []string) {
	children, _ := os.ReadDir(dir)
	for _, c := range children {
		if c.IsDir() && !slices.Contains(keep, c.Name()) {
			thaw(filepath.Join(dir, c.Name()), nil)
		}
	}
	if len(keep) == 0 { // else it holds for them, too
		control(dir, "freezer.state", "THAWED")
	}
}

// control writes one of a cgroup's files, if it has that.
func control(dir, name, word string) {
	if f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(word)
		f.Close()
	}
}

func removeCgroup(dir string, keep []string, end time.Time) error {
	children, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	var (
		errs []error
		kept bool
	)
	for _, c := range children {
		switch {
		case !c.IsDir():
		case slices.Contains(keep, c.Name()):
			kept = true
		default:
			errs = append(errs, removeCgroup(filepath.Join(dir, c.Name()), nil, end))
		}
	}
	if kept {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, empty(dir, end))...)
}

// deathLimit is how long killed processes may take to end.
const deathLimit = 5 * time.Second

// empty kills the processes of one cgroup until it can be removed. That takes
// more than one try: they may fork meanwhile, and the kernel keeps the dead a
// moment longer than it tells.
func empty(dir string, end time.Time) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		pids, err := members(dir)
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := kill(pid, dir, time.Until(end)); err != nil {
				return err
			}
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
		} else {
			control(dir, "pids.max", "0") // they fork: no more
		}
	}
}

// members gives the processes of a cgroup, none if there is no such cgroup. A
// process of another pid namespace, which has no number here, is left out: it
// is no container of ours.
func members(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	// v2: a threaded cgroup has no list of processes, and is no container's.
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// kill kills a member of a cgroup and waits until it is dead.
func kill(pid int, dir string, limit time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	defer unix.Close(fd)
	// By now the number may be another process's. If it is still on the list,
	// what was opened is a member.
	pids, err := members(dir)
	if err != nil || !slices.Contains(pids, pid) {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d in %s: %w", pid, dir, err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(limit, 0).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
}
