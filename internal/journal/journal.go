// Package journal is the file in which the lives of a container are written down
// that a later program can find: when they began, how they ended, and whether the
// next one is wanted. The program and the container's shim write it, each with the
// lock.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Journal is the directory where the lives of a container are written down for
// later programs. nil is none: of a container that ends with this one.
type Journal struct{ Dir string }

// Past is what a journal says.
type Past struct {
	Lives   int       // how many were begun
	Started time.Time // the last one
	Exit    *Exit     // how it ended; nil: it has not, or it was not seen
	Owner   string    // the program that its processes end with; "": none

	Restarts int  // lives that its policy has begun since a caller began one
	Stopped  bool // a caller has stopped it: its policy begins no life
}

// Code is the exit code of the last life, or Unknown.
func (p Past) Code() int {
	if p.Exit == nil {
		return Unknown
	}
	return p.Exit.Code
}

func (j *Journal) path() string { return filepath.Join(j.Dir, "lives") }

// Read gives what the journal says; nothing, where it can't be read.
func (j *Journal) Read() (p Past) {
	if j == nil {
		return p
	}
	if b, err := os.ReadFile(j.path()); err != nil || json.Unmarshal(b, &p) != nil {
		return Past{}
	}
	return p
}

// Exists tells whether the container is there: what is not written down has not
// happened then.
func (j *Journal) Exists() bool {
	_, err := os.Stat(j.Dir)
	return err == nil
}

// Write replaces what the journal says.
func (j *Journal) Write(p Past) error {
	if j == nil {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	made := j.path() + ".new"
	if err := os.WriteFile(made, b, 0o600); err != nil {
		return err
	}
	return os.Rename(made, j.path())
}

// Take notes the program that the container's processes end with. "" is none.
// undo takes it back.
func (j *Journal) Take(owner string) (undo func(), err error) {
	was := j.Read()
	now := was
	now.Owner = owner
	return func() { _ = j.Write(was) }, j.Write(now)
}

// Begin notes the beginning of a life. undo takes it back.
func (j *Journal) Begin(at time.Time, owner string) (undo func(), err error) {
	past := j.Read()
	if err := j.Write(Past{Lives: past.Lives + 1, Started: at, Owner: owner, Restarts: past.Restarts}); err != nil {
		return nil, err
	}
	return func() { _ = j.Write(past) }, nil
}

// Change changes what the journal says.
func (j *Journal) Change(change func(*Past)) error {
	past := j.Read()
	change(&past)
	return j.Write(past)
}

// End notes how the life ended that is the last one.
func (j *Journal) End(e Exit) error {
	return j.Change(func(p *Past) { p.Exit, p.Owner = &e, "" })
}

// ErrBusy is the class of a Lock that another caller has.
var ErrBusy = fmt.Errorf("it is being started or removed: %w", errdefs.ErrInvalidArgument)

// Lock keeps others from beginning a life or removing the container, also other
// programs. It waits until ctx ends; one that has ended is ErrBusy at once. A
// container that is gone is errdefs.ErrNotFound.
func (j *Journal) Lock(ctx context.Context) (unlock func(), err error) {
	if j == nil {
		return func() {}, nil
	}
	f, err := os.Open(j.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it was removed: %w", errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			// Not by closing alone: a child of this program that is about to be
			// executed has the file open as well.
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN); f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ErrBusy
		case <-time.After(time.Millisecond):
		}
	}
}
