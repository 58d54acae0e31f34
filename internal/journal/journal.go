// Package journal is the file in which the lives of a container are written down
// that a later program can find: when they began, how they ended, and whether the
// next one is wanted. Programs and the container's shim write it, a whole change at a
// time: none loses what another has written, and neither a kill nor a power cut leaves
// half of a change.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Journal is where the lives of a container are written down. nil is nowhere: of a
// process whose lives are told to nobody.
type Journal struct {
	dir  string        // for later programs; "": none finds the container
	turn chan struct{} // held by Lock, where there is no directory to lock

	mu     sync.Mutex // held while memory is read or changed
	memory Past       // without a directory
}

// At is a journal in a directory, that of a container which a later program finds.
func At(dir string) *Journal { return &Journal{dir: dir} }

// InMemory is the journal of a container that ends with this program.
func InMemory() *Journal { return &Journal{turn: make(chan struct{}, 1)} }

// Past is what a journal says.
type Past struct {
	Lives   int       // how many were begun
	Started time.Time // the last one
	Exit    *Exit     // how it ended; nil: it has not, or it was not seen
	Before  *Exit     `json:",omitempty"` // how the one before it ended; nil: that was not seen
	Owner   string    // the program that its processes end with; "": none

	Restarts int  // lives that its policy has begun since a caller began one
	Due      bool // the life that begins next is one of these
	Stopped  bool // a caller has stopped it: its policy begins no life

	Told int // what was told of the lives, as Tell counts it
}

// Ended is p once its last life has ended so.
func (p Past) Ended(e Exit) Past {
	p.Exit = &e
	return p
}

// Ending is how the life of a number ended, of the last two; nil: it has not, or it is
// not known.
func (p Past) Ending(number int) *Exit {
	switch number {
	case p.Lives:
		return p.Exit
	case p.Lives - 1:
		return p.Before
	}
	return nil
}

// Count counts a life that is due, whether it has begun or not.
func (p *Past) Count() {
	if p.Due {
		p.Restarts, p.Due = p.Restarts+1, false
	}
}

// Code is the exit code of the last life, or Unknown.
func (p Past) Code() int {
	if p.Exit == nil {
		return Unknown
	}
	return p.Exit.Code
}

// Read gives what the journal says; nothing, where it can't be read.
func (j *Journal) Read() Past {
	if j == nil {
		return Past{}
	}
	if j.dir == "" {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.memory
	}
	b, err := os.ReadFile(j.path())
	if err != nil {
		return Past{}
	}
	newest, found := newestOf(b)
	if !found && len(b) > 0 { // two changes were made in the meantime, or none ever was
		_ = j.alter(func(p *Past) { newest.Past = *p })
	}
	return newest.Past
}

func (j *Journal) path() string { return filepath.Join(j.dir, "lives") }

// Exists tells whether the container is there: what is not written down has not
// happened then.
func (j *Journal) Exists() bool {
	if j.dir == "" {
		return true
	}
	_, err := os.Stat(j.dir)
	return err == nil
}

// Change changes what the journal says. undo takes back what the change has done, and
// leaves alone what has been changed since.
func (j *Journal) Change(change func(*Past)) (undo func(), err error) {
	if j == nil {
		return func() {}, nil
	}
	var was, now Past
	err = j.alter(func(p *Past) {
		was = *p
		change(p)
		now = *p
	})
	return func() { _ = j.alter(func(p *Past) { p.takeBack(was, now) }) }, err
}

// takeBack has each thing that a change has made of p be what it was, unless it has
// become another since.
func (p *Past) takeBack(was, now Past) {
	says := func(v reflect.Value) string {
		b, _ := json.Marshal(v.Interface())
		return string(b)
	}
	fields, before, after := reflect.ValueOf(p).Elem(), reflect.ValueOf(was), reflect.ValueOf(now)
	for i := range fields.NumField() {
		if says(fields.Field(i)) == says(after.Field(i)) {
			fields.Field(i).Set(before.Field(i))
		}
	}
}

// alter makes a change while no other journal of the container does, in whichever
// program. Lock is not what keeps the others away: its holder makes changes, and so does
// the program that sees a life end.
func (j *Journal) alter(change func(*Past)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dir == "" {
		change(&j.memory)
		return nil
	}
	f, err := os.OpenFile(j.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	unlock, err := flock(ctx, f)
	if err != nil {
		return fmt.Errorf("lock %s: %w", j.path(), err)
	}
	defer unlock()
	return rewrite(f, change)
}

// patience is how long a change waits for the others, each of which takes milliseconds:
// a program that was stopped in the middle of one can't hold up all others.
const patience = 10 * time.Second

// Take notes the program that the container's processes end with. "" is none.
func (j *Journal) Take(owner string) (undo func(), err error) {
	return j.Change(func(p *Past) { p.Owner = owner })
}

// Begin notes the beginning of a life.
func (j *Journal) Begin(at time.Time, owner string) (undo func(), err error) {
	return j.Change(func(p *Past) {
		p.Lives, p.Started, p.Owner, p.Before, p.Exit = p.Lives+1, at, owner, p.Exit, nil
		p.Count()
	})
}

// End notes how the life ended that is the last one.
func (j *Journal) End(e Exit) error {
	_, err := j.Change(func(p *Past) { p.Exit, p.Owner = &e, "" })
	return err
}

// Ended notes how a life ended, unless that is known, or the next has begun.
func (j *Journal) Ended(life int, e Exit) error {
	_, err := j.Change(func(p *Past) {
		if life > 0 && p.Lives == life && p.Exit == nil {
			p.Exit, p.Owner = &e, ""
		}
	})
	return err
}

// telling is held while what has happened to a container is told: there may be several
// journals of one, and its life has an order.
var telling sync.Mutex

// Tell has something told that has happened to the container, unless it was told
// before, also by an earlier program: 2*n-1 is the beginning of life n, and 2*n its
// end.
func (j *Journal) Tell(n int, tell func()) {
	telling.Lock()
	defer telling.Unlock()
	news := false
	err := j.alter(func(p *Past) {
		news = n > p.Told
		p.Told = max(p.Told, n)
	})
	if err == nil && news { // an error: the container is removed
		tell()
	}
}

// ErrBusy is the class of a Lock that another caller has.
var ErrBusy = fmt.Errorf("it is being started or removed: %w", errdefs.ErrInvalidArgument)

// Lock keeps others from beginning a life or removing the container, also other
// programs. It waits until ctx ends, and that is ErrBusy; if ctx has ended already, it
// does not wait. A container that is gone is errdefs.ErrNotFound.
func (j *Journal) Lock(ctx context.Context) (unlock func(), err error) {
	if j == nil {
		return func() {}, nil
	}
	if j.dir == "" {
		return j.take(ctx)
	}
	f, err := os.Open(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errRemoved
	}
	if err != nil {
		return nil, err
	}
	unlock, err = flock(ctx, f)
	if err != nil && err == ctx.Err() {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	if !j.has(f) { // it was removed while this waited
		unlock()
		return nil, errRemoved
	}
	return unlock, nil
}

// flock locks an open file against all other openings of it, and closes it in the end.
// It waits until ctx ends; if ctx has ended already, it does not wait.
func flock(ctx context.Context, f *os.File) (unlock func(), err error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			// Not by closing alone: a child of this program that is about to be
			// executed has the file open as well.
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN); f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

var errRemoved = fmt.Errorf("it was removed: %w", errdefs.ErrNotFound)

// has tells whether an open directory is still the journal's.
func (j *Journal) has(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(j.dir)
	return err == nil && os.SameFile(opened, there)
}

// take is Lock within the program.
func (j *Journal) take(ctx context.Context) (unlock func(), err error) {
	unlock = func() { <-j.turn }
	select {
	case j.turn <- struct{}{}:
		return unlock, nil
	default:
	}
	select {
	case j.turn <- struct{}{}:
		return unlock, nil
	case <-ctx.Done():
		return nil, ErrBusy
	}
}
