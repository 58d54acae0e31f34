package life

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Bounds end a process and the copies of its streams that do not end by
// themselves, with the rules of os/exec.
type Bounds struct {
	Context context.Context
	Cancel  func() error // at the end of Context; nil: nothing
	Kill    func() error
	Delay   time.Duration // from the end of Context or of the process; 0: no bound
	Copies  Copies

	watched chan watched // nil: nothing watches Context
}

// Copies of a process's streams.
type Copies interface {
	Copied() <-chan struct{} // closed when they have ended
	Err() error              // what has gone wrong with them
	Close()                  // ends them
}

// watched is what has come of watching the context.
type watched struct {
	err     error
	timer   *time.Timer // runs for Delay; nil: it was not begun
	settled bool        // the copies have ended, and err says how
}

// Watch begins to watch the context, once the process runs.
func (b *Bounds) Watch() {
	if (b.Cancel != nil || b.Delay != 0) && b.Context.Done() != nil {
		b.watched = make(chan watched)
		go b.watch()
	}
}

// watch cancels the process when the context ends, and enforces Delay from then on,
// until it can hand over to Wait.
func (b *Bounds) watch() {
	select {
	case b.watched <- watched{}:
		return
	case <-b.Context.Done():
	}
	err := b.cancel()
	if b.Delay == 0 {
		b.watched <- watched{err: err}
		return
	}
	timer := time.NewTimer(b.Delay)
	select {
	case b.watched <- watched{err: err, timer: timer}:
		return
	case <-timer.C:
	}
	killed := false
	if kerr := b.Kill(); kerr == nil {
		killed = true
	} else if !errors.Is(kerr, os.ErrProcessDone) {
		err = fmt.Errorf("kill: %w", kerr)
	}
	select {
	case <-b.Copies.Copied():
		if err == nil && !killed {
			err = b.Copies.Err()
		}
	default:
		// After the killing: the process should die of that, and not of SIGPIPE.
		b.endCopies()
		if err == nil {
			err = exec.ErrWaitDelay
		}
	}
	b.watched <- watched{err: err, settled: true}
}

// cancel calls Cancel, and tells what Wait is to make of an exit code 0.
func (b *Bounds) cancel() error {
	if b.Cancel == nil {
		return nil
	}
	switch err := b.Cancel(); {
	case err == nil:
		return b.Context.Err()
	case errors.Is(err, os.ErrProcessDone):
		return nil
	default:
		return fmt.Errorf("cancel: %w", err)
	}
}

// Wait is called when the process has ended, and returns when the copies have.
// cause is what the end of the context led to, and copies what has gone wrong with
// the streams, which may come from that.
func (b *Bounds) Wait() (cause, copies error) {
	var w watched
	if b.watched != nil {
		w = <-b.watched
	}
	if !w.settled {
		copies = b.await(w.timer)
	}
	return w.err, copies
}

// await waits for the copies. timer is that of watch, if it was begun.
func (b *Bounds) await(timer *time.Timer) error {
	select {
	case <-b.Copies.Copied():
		return b.Copies.Err()
	default:
	}
	var late <-chan time.Time
	if timer == nil && b.Delay != 0 {
		timer = time.NewTimer(b.Delay)
	}
	if timer != nil {
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-b.Copies.Copied():
		return b.Copies.Err()
	case <-late:
		b.endCopies()
		return exec.ErrWaitDelay
	}
}

func (b *Bounds) endCopies() {
	b.Copies.Close()
	<-b.Copies.Copied()
}
