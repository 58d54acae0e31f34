package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is the class of an Open of a root that another engine has open.
var ErrLocked = errors.New("root is locked")

// Lock is a root held by this process.
type Lock struct {
	f *os.File
	// Dirty tells that the last holder ended without Unlock.
	Dirty bool
}

// LockRoot takes a root. The file says who has it, for the message only; it
// is the kernel's lock that counts, and it ends with the process.
func LockRoot(root string) (*Lock, error) {
	path := filepath.Join(root, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w by %s", root, ErrLocked, holder(f))
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	l := &Lock{f: f, Dirty: readPid(f) != 0}
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// Unlock lets the root go, and says that it was left in order.
func (l *Lock) Unlock() error {
	return errors.Join(l.write(""), l.f.Close())
}

func (l *Lock) write(s string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(s), 0)
	return err
}

func holder(f *os.File) string {
	pid := readPid(f)
	switch pid {
	case 0:
		return "another process"
	case os.Getpid():
		return fmt.Sprintf("process %d (this one)", pid)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
}

func readPid(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}
