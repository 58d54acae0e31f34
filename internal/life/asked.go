package life

import (
	"context"
	"errors"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/journal"
)

// Asked is the life of a first process that outlives the program that made it.
// Nothing is remembered here: other programs, or other parts of this one, may
// have to do with the same process.
type Asked struct {
	Process

	// Enter begins a call that may take as long as the process lives.
	Enter func(context.Context) (context.Context, func(), error)
	// Gone tells whether an error of the runtime means that it has nothing any
	// more of the process.
	Gone func(error) bool
	// OOM tells whether the kernel has killed for want of memory.
	OOM func() bool
	// Complete waits until the log has the last of the output.
	Complete func(context.Context) error
	// Journal is where the lives are written down.
	Journal *journal.Journal
}

var _ Life = (*Asked)(nil)

// Start implements Life.
func (a *Asked) Start(ctx context.Context) error {
	undo, err := a.Journal.Begin(time.Now(), "")
	if err != nil {
		return err
	}
	if _, err := a.Process.Start(ctx); err != nil {
		undo()
		return err
	}
	return nil
}

// Started implements Life.
func (a *Asked) Started() time.Time { return a.Journal.Read().Started }

// Number implements Life.
func (a *Asked) Number() int { return a.Journal.Read().Lives }

// Pid implements Life.
func (a *Asked) Pid(ctx context.Context) (int, error) {
	s, err := a.Status(ctx)
	return s.Pid, err
}

// Status implements Life.
func (a *Asked) Status(ctx context.Context) (Status, error) {
	s, err := a.Process.Status(ctx)
	if a.Gone(err) {
		return a.past(), nil
	}
	if s.State == containerd.Stopped {
		s.Exit.OOMKilled = a.OOM()
	}
	return s, err
}

// past is how a container is of which the runtime has nothing.
func (a *Asked) past() Status {
	p := a.Journal.Read()
	switch {
	case p.Lives == 0 && a.Journal.Exists():
		return Status{State: containerd.Created}
	case p.Exit != nil:
		return Status{State: containerd.Stopped, Exit: *p.Exit}
	default:
		return stopped()
	}
}

// Exited implements Life.
func (a *Asked) Exited(ctx context.Context) (Exit, error) {
	none := Exit{Code: Unknown}
	ctx, leave, err := a.Enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	number := max(a.Number(), 1)
	e, err := a.Wait(ctx)
	switch {
	case err == nil:
		e.OOMKilled = a.OOM()
		return e, nil
	case ctx.Err() != nil:
		return none, context.Cause(ctx)
	case !a.Gone(err):
		return none, unseen(err)
	}
	// Its shim may have begun the next life by now.
	if e := a.Journal.Read().Ending(number); e != nil && e.Code != Unknown {
		return *e, nil
	}
	return none, unseen(errors.New("the host was restarted, or its shim or program killed"))
}

// Note implements Life.
func (a *Asked) Note(ctx context.Context) error {
	s, err := a.Process.Status(ctx)
	if err != nil || s.State != containerd.Stopped {
		return nil // there is nothing that was not written down
	}
	s.Exit.OOMKilled = a.OOM()
	return a.Journal.End(s.Exit)
}

// completeLimit is for another process, which has the last bytes soon after.
const completeLimit = 5 * time.Second

// Drained implements Life. Nothing goes wrong with streams that are a log's.
func (a *Asked) Drained(ctx context.Context) (copies, err error) {
	soon, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	_ = a.Complete(soon) // what it lacks by then it may never get
	return nil, ctx.Err()
}

// GiveUp implements Life. Waits end with the call that Enter has begun.
func (a *Asked) GiveUp() {}
