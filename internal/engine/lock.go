package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked is the class of an Open of a root that another engine has open.
var ErrLocked = errors.New("root is locked")

// inOrder is what the lock file says of a root that was left in order. It is
// not the empty file: that is what a file system may make, after a power cut,
// of one that was never synced.
const inOrder = "closed"

// Lock is a root held by this process.
type Lock struct {
	f *os.File
	// Dirty tells that the last holder has left things undone, or that there
	// is nothing to tell by.
	Dirty bool
}

// LockRoot takes a root. The file says who has it, for the message only; it
// is the kernel's lock that counts, and it ends with the process.
func LockRoot(root string) (*Lock, error) {
	path := filepath.Join(root, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w by %s", root, ErrLocked, holder(read(f)))
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	l := &Lock{f: f, Dirty: read(f) != inOrder}
	if err := l.write(strconv.Itoa(os.Getpid())); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// dyingLimit is how long a program may take to end once it has begun to.
const dyingLimit = 10 * time.Second

// lock takes the kernel's lock. A program that is killed has it until the kernel
// has closed its files, and if it was starting another, the child has it for a
// moment longer.
func lock(f *os.File) error {
	for end := time.Now().Add(dyingLimit); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
		pid, perr := strconv.Atoi(read(f))
		if perr != nil || pid <= 0 || ownerOf(pid) != "" && !exiting(pid) {
			return err
		}
	}
}

// Unlock lets the root go, and says whether it was left in order.
func (l *Lock) Unlock(clean bool) error {
	var err error
	if clean {
		err = l.write(inOrder)
	}
	// Not by closing alone: a child of this program that is about to be
	// executed has the file open as well.
	return errors.Join(err, unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}

func (l *Lock) write(s string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(s+"\n"), 0)
	return err
}

// read gives what the file says, "" if that can't be read.
func read(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 32))
	return strings.TrimSpace(string(b))
}

func holder(said string) string {
	pid, err := strconv.Atoi(said)
	switch {
	case err != nil || pid <= 0:
		return "another process"
	case pid == os.Getpid():
		return fmt.Sprintf("process %d (this one)", pid)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
}
