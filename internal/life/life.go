// Package life is the one place that knows of a process in a container when it
// was started, whether and how it has ended, and whether all of its output has
// come. A container's first process and its commands are the same thing here.
package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/journal"
)

// A Life is what is known of one process, from its making to its end. It is
// safe for use by any number of goroutines.
//
// There are two: [Seen] is of a process that this program has made and watches,
// [Asked] of one that outlives the program, and that the runtime is asked about.
type Life interface {
	// Start lets the process run. It is called once.
	Start(ctx context.Context) error

	// Started is when Start was called; zero: it was not.
	Started() time.Time

	// Number is how many lives of the container have been started, with this
	// one.
	Number() int

	// Pid is that of the process on its host; 0: it has none any more, or not yet.
	Pid(ctx context.Context) (int, error)

	// Status tells how the process is now.
	Status(ctx context.Context) (Status, error)

	// Exited waits until the process has ended. An end that was not seen is
	// ErrUnseen, and that of a life that was given up before ErrGivenUp.
	Exited(ctx context.Context) (Exit, error)

	// Drained waits, after Exited, until the output is where it belongs. copies
	// is what has gone wrong with the streams, err why the wait ended early.
	Drained(ctx context.Context) (copies, err error)

	// Note writes down what later programs want to know of an end, before the
	// runtime forgets it.
	Note(ctx context.Context) error

	// GiveUp ends every wait for a process or an output that does not end.
	GiveUp()
}

// Status is how a process is at a moment.
type Status struct {
	State containerd.ProcessStatus
	Pid   int  // as Life gives it; 0 with Created: the runtime has nothing of it
	Exit  Exit // once State is Stopped
}

// Ended tells whether the process has ended.
func (s Status) Ended() bool { return s.State == containerd.Stopped }

// Frozen tells whether it is paused, or about to be.
func (s Status) Frozen() bool {
	return s.State == containerd.Paused || s.State == containerd.Pausing
}

// Exit is how a process has ended, and Unknown the code of an end that was not
// seen.
type Exit = journal.Exit

// Unknown is journal.Unknown.
const Unknown = journal.Unknown

// ErrUnseen is the class of an end that was not seen. It is
// errdefs.ErrUnavailable too.
var ErrUnseen = errors.New("its end was not seen")

func unseen(why error) error {
	return fmt.Errorf("%w: %w: %w", ErrUnseen, why, errdefs.ErrUnavailable)
}

// ErrGivenUp is the class of a wait that GiveUp has ended.
var ErrGivenUp = errors.New("it was given up")

// stopped is the status of a process whose end was not seen.
func stopped() Status {
	return Status{State: containerd.Stopped, Exit: Exit{Code: Unknown}}
}

// During gives a context that ends with the life, or with ctx.
func During(ctx context.Context, l Life) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = l.Exited(ctx)
	}()
	return ctx
}

// Ended is closed when a life has ended, in whichever way; never, if ctx ends
// before.
func Ended(ctx context.Context, l Life) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = l.Exited(ctx)
		if ctx.Err() == nil {
			close(ended)
		}
	}()
	return ended
}
