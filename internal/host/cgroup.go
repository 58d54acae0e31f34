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
	return parentPrefix + hex.EncodeToString(h[:parentBytes])
}

const (
	parentPrefix = "/ctor-"
	parentBytes  = 6
)

// ParentOf gives the cgroup of an engine that a container's is in; "" if that is
// somewhere else.
func ParentOf(path string) string {
	parent := filepath.Dir(filepath.Join("/", path))
	digits, ok := strings.CutPrefix(parent, parentPrefix)
	if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != parentBytes {
		return ""
	}
	return parent
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
	for _, h := range found {
		quell(filepath.Join(h, path), keep)
	}
	var errs []error
	end := time.Now().Add(deathLimit)
	for _, h := range found {
		errs = append(errs, removeCgroup(filepath.Join(h, path), keep, end))
	}
	return errors.Join(errs...)
}

// quell makes killing come to an end: what is in a cgroup and below can't fork
// any more, is killed whole where the kernel does that (v2 since Linux 5.14),
// and is not frozen, which on v1 keeps it from dying. All of it may fail: then
// it takes longer.
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
		if file, err := os.OpenFile(filepath.Join(dir, f.name), os.O_WRONLY, 0); err == nil {
			_, _ = file.WriteString(f.word)
			file.Close()
		}
	}
}

// RemoveEmptyCgroup removes a cgroup from every hierarchy in which it holds
// nothing: what does may be somebody else's.
func RemoveEmptyCgroup(path string) {
	path = filepath.Join("/", path)
	found, _ := hierarchies()
	for _, h := range found {
		if path != "/" {
			_ = unix.Rmdir(filepath.Join(h, path))
		}
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
		fd, err := unix.PidfdOpen(pid, 0)
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
		if err := await(fd, end); err != nil {
			return err
		}
	}
	return nil
}

// await waits until a process is dead, or it is too late.
func await(pidfd int, end time.Time) error {
	for {
		limit := max(time.Until(end), 0).Milliseconds()
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(limit))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
}
