package life

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Command is a process that this program has started in a container, as os/exec has
// one: it is signalled, and waited for, also when it is gone.
type Command struct {
	Process Process
	Life    Life

	// Relay is that the last output may still be on its way when the process has ended.
	Relay bool
	// Gone is as in Watching.
	Gone func(error) bool
	// Asking gives the context of a question to the runtime.
	Asking func() (context.Context, context.CancelFunc)
	// Leave ends the call on the container that the process is.
	Leave func()
	// Among are the container's, of a process that is not the first.
	Among *Commands
	// Release lets go of what the runtime has of the process. It may be called again.
	Release func()

	exited chan struct{} // closed after what follows is set
	exit   Exit
	unseen error
	ender  error // what has ended it, if neither itself nor its user
}

// Begin is called once, before the process is started.
func (c *Command) Begin() {
	c.exited = make(chan struct{})
	c.Among.put(c)
}

// Exited is closed when the process has ended.
func (c *Command) Exited() <-chan struct{} { return c.exited }

// Exit is how it has ended, once it has, and why that was not seen. ender is what has
// ended it, if neither itself nor its user.
func (c *Command) Exit() (exit Exit, ender, unseen error) { return c.exit, c.ender, c.unseen }

// Signal sends the process a signal. One that has ended is os.ErrProcessDone.
func (c *Command) Signal(n syscall.Signal) error {
	return c.ask(func(ctx context.Context) error { return c.Process.Signal(ctx, n) })
}

// Resize sets the size of its terminal. One that has ended is os.ErrProcessDone.
func (c *Command) Resize(width, height uint16) error {
	return c.ask(func(ctx context.Context) error { return c.Process.Resize(ctx, width, height) })
}

// CloseInput tells the runtime that the input has ended. An error would be that the
// process is gone, and its input with it.
func (c *Command) CloseInput() { _ = c.ask(c.Process.CloseInput) }

// ask asks something of a process that runs.
func (c *Command) ask(do func(context.Context) error) error {
	select {
	case <-c.exited:
		return os.ErrProcessDone
	default:
	}
	ctx, cancel := c.Asking()
	defer cancel()
	err := do(ctx)
	if c.Gone(err) {
		return os.ErrProcessDone
	}
	return err
}

// Watch sees the process to its end, and is called once. When ctx ends, which is that of
// the call on the container, the process is killed. ender is asked at its end.
func (c *Command) Watch(ctx context.Context, ender func() error) {
	defer c.Leave()
	stop := context.AfterFunc(ctx, func() { _ = c.Signal(syscall.SIGKILL) })
	c.exit, c.unseen = c.Life.Exited(context.Background())
	stop()
	// Of a command it counts if it was the one: as that of a container's other
	// processes it is the container's.
	c.exit.OOMKilled = c.exit.OOMKilled && c.exit.Code == 128+int(syscall.SIGKILL)
	c.ender = ender()
	if !c.Relay {
		c.Release()
	}
	if !c.Relay {
		c.Among.drop(c)
	}
	close(c.exited)
}

// Abandon says that the process could not be started.
func (c *Command) Abandon() {
	c.Among.drop(c)
	close(c.exited)
}

// Forget has the runtime let go of a process that was added.
func (c *Command) Forget() {
	if c.Relay {
		defer c.Among.drop(c)
	}
	ctx, cancel := c.Asking()
	defer cancel()
	_ = c.Process.Delete(ctx) // an error: the container is gone, and all of it
}

// Commands are those of a container, beside its first process, that have not ended or
// whose output is not waited for. The zero value is ready; nil has none.
type Commands struct{ all sync.Map }

func (s *Commands) put(c *Command) {
	if s != nil {
		s.all.Store(c, nil)
	}
}

func (s *Commands) drop(c *Command) {
	if s != nil {
		s.all.Delete(c)
	}
}

// Await waits until all have ended, and tells whether they have; it does not wait longer
// than patience.
func (s *Commands) Await(patience time.Duration) bool {
	var late <-chan time.Time
	for c := range s.all.Range {
		if late == nil { // the first
			late = time.After(patience)
		}
		select {
		case <-c.(*Command).exited:
		case <-late:
			return false
		}
	}
	return true
}

// Relayed tells whether the runtime may have output of one of them.
func (s *Commands) Relayed() bool {
	for c := range s.all.Range {
		if c.(*Command).Relay {
			return true
		}
	}
	return false
}
