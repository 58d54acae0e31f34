package life

import (
	"context"
	"errors"
	"os"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
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
	// Mark is the path of a file whose time is that of the start.
	Mark string
}

var _ Life = (*Asked)(nil)

// Start implements Life.
func (a *Asked) Start(ctx context.Context) error {
	if err := mark(a.Mark, time.Now()); err != nil {
		return err
	}
	if _, err := a.Process.Start(ctx); err != nil {
		_ = os.Remove(a.Mark)
		return err
	}
	return nil
}

// mark makes a file of that time. The file system's own clock is milliseconds
// behind: by it a container would have started before it was made.
func mark(path string, at time.Time) error {
	made := path + ".new"
	if err := os.WriteFile(made, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(made, at, at); err != nil {
		return err
	}
	return os.Rename(made, path)
}

// Started implements Life.
func (a *Asked) Started() time.Time {
	if st, err := os.Stat(a.Mark); err == nil {
		return st.ModTime()
	}
	return time.Time{}
}

// Pid implements Life.
func (a *Asked) Pid(ctx context.Context) (int, error) {
	s, err := a.Status(ctx)
	return s.Pid, err
}

// Status implements Life.
func (a *Asked) Status(ctx context.Context) (Status, error) {
	s, err := a.Process.Status(ctx)
	if a.Gone(err) {
		s, err = stopped(), nil
	}
	if s.State == containerd.Stopped {
		s.Exit.OOMKilled = a.OOM()
	}
	return s, err
}

// Exited implements Life.
func (a *Asked) Exited(ctx context.Context) (Exit, error) {
	none := Exit{Code: Unknown}
	ctx, leave, err := a.Enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	e, err := a.Wait(ctx)
	switch {
	case err == nil:
		e.OOMKilled = a.OOM()
		return e, nil
	case ctx.Err() != nil:
		return none, context.Cause(ctx)
	case errdefs.IsNotFound(err):
		return none, unseen(errors.New("the host was restarted, or its shim killed"))
	default:
		return none, unseen(err)
	}
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
