package life

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/journal"
)

// Streams carry what a process reads and writes.
type Streams interface {
	// Begin is called when the process runs: there is a reader of its input.
	Begin()
	// Drain is called when the process has ended, after Begin if it was started,
	// and returns when all of its output has come. seen is false where the runtime is gone, which else ends
	// the streams.
	Drain(seen bool) error
	// Drop gives up what does not end.
	Drop()
}

// Seen is the life of a process that this program watches. It goes on to tell
// how it has ended when the process, and the runtime, are gone.
type Seen struct {
	process Process
	w       Watching

	// starting is held by Start: a process may have ended before it returns, and
	// the streams are to begin before they are drained.
	starting sync.Mutex

	pid     atomic.Int64
	started atomic.Pointer[time.Time] // nil: not yet

	exited  chan struct{} // closed after exit and unseen are set
	exit    Exit
	unseen  error
	drained chan struct{} // closed after copies is set
	copies  error

	giving sync.Once
	given  chan struct{}
}

var _ Life = (*Seen)(nil)

// Watching says how to see a process to its end.
type Watching struct {
	// Gone tells whether an error of the runtime means that it has nothing any
	// more of the process.
	Gone func(error) bool
	// Streams are the process's; nil: another owner takes care of them.
	Streams Streams
	// Pid is known already of a process that the runtime has created.
	Pid int
	// Before is how many lives there were before this one.
	Before int
	// Journal is where the life is written down; nil: nowhere.
	Journal *journal.Journal
	// Owner names this program in it.
	Owner string
	// Began is called when the process was started, before its end is told; nil:
	// nobody wants to know.
	Began func(*Seen)
}

// New is the life of a process that was made, and that was not started.
func New(p Process, w Watching) *Seen {
	s := &Seen{
		process: p, w: w,
		exited: make(chan struct{}), drained: make(chan struct{}), given: make(chan struct{}),
	}
	s.pid.Store(int64(w.Pid))
	return s
}

// Watch sees the process to its end, and returns then. It is called once. What
// ctx has the runtime needs; its end ends the watch, so it has none. note is
// called with the end before anybody hears of it, and after Start has returned.
func (s *Seen) Watch(ctx context.Context, note func(*Exit)) {
	defer close(s.drained)
	s.exit, s.unseen = s.process.Wait(ctx)
	if s.unseen != nil {
		s.exit = Exit{Code: Unknown}
		s.unseen = unseen(s.unseen)
	}
	s.awaitStart()
	note(&s.exit)
	if s.unseen == nil && s.started.Load() != nil {
		_ = s.w.Journal.End(s.exit) // else later programs have not seen the end
	}
	close(s.exited)
	if s.w.Streams != nil {
		s.copies = s.w.Streams.Drain(s.unseen == nil)
	}
}

// awaitStart waits until no Start is under way.
func (s *Seen) awaitStart() {
	s.starting.Lock()
	defer s.starting.Unlock()
}

// Start implements Life.
func (s *Seen) Start(ctx context.Context) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	now := time.Now()
	undo := func() {}
	if s.w.Journal != nil {
		var err error
		if undo, err = s.w.Journal.Begin(now, s.w.Owner); err != nil {
			return err
		}
	}
	s.started.Store(&now)
	pid, err := s.process.Start(ctx)
	if err != nil {
		s.started.Store(nil)
		undo()
		return err
	}
	s.pid.Store(int64(pid))
	if s.w.Streams != nil {
		s.w.Streams.Begin()
	}
	if s.w.Began != nil {
		s.w.Began(s)
	}
	return nil
}

// Number implements Life.
func (s *Seen) Number() int {
	if s.started.Load() == nil {
		return s.w.Before
	}
	return s.w.Before + 1
}

// Note implements Life. Watch has done so.
func (s *Seen) Note(context.Context) error { return nil }

// Started implements Life.
func (s *Seen) Started() time.Time {
	if t := s.started.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Pid implements Life.
func (s *Seen) Pid(context.Context) (int, error) {
	select {
	case <-s.exited:
		return 0, nil
	default:
		return int(s.pid.Load()), nil
	}
}

// Status implements Life. It asks the runtime only whether a process that runs
// is paused.
func (s *Seen) Status(ctx context.Context) (Status, error) {
	if s.hasExited() {
		return Status{State: containerd.Stopped, Exit: s.exit}, nil
	}
	if s.started.Load() == nil {
		return Status{State: containerd.Created, Pid: int(s.pid.Load())}, nil
	}
	st, err := s.process.Status(ctx)
	switch {
	case !s.w.Gone(err):
		return st, err
	case s.hasExited(): // meanwhile, and the runtime has let go of it
		return Status{State: containerd.Stopped, Exit: s.exit}, nil
	}
	return stopped(), nil
}

func (s *Seen) hasExited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Exited implements Life. What has ended is told even to a ctx that has.
func (s *Seen) Exited(ctx context.Context) (Exit, error) {
	err := s.await(ctx, s.exited)
	if err == nil {
		return s.exit, s.unseen
	}
	return Exit{Code: Unknown}, err
}

// Drained implements Life.
func (s *Seen) Drained(ctx context.Context) (copies, err error) {
	if err := s.await(ctx, s.drained); err != nil {
		return nil, err
	}
	return s.copies, nil
}

func (s *Seen) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.given:
	}
	select {
	case <-done:
		return nil
	default:
		return ErrGivenUp
	}
}

// GiveUp implements Life.
func (s *Seen) GiveUp() {
	s.giving.Do(func() {
		close(s.given)
		if s.w.Streams != nil {
			s.w.Streams.Drop()
		}
	})
}
