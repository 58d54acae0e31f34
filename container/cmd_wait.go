package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Wait waits until the command has ended and its streams have been copied. It
// returns nil for exit code 0, else an *ExitError. Another error means that a
// copy failed, that ctx ended the command or WaitDelay its streams, which it
// gives only for exit code 0; that the container was closed, or the engine,
// which is ctor.ErrClosed, with the *ExitError in it; or that the end was not
// seen, which is ctor.ErrUnavailable.
//
// It closes the pipes that StdinPipe, StdoutPipe and StderrPipe gave, so reads
// from them must have ended before. It is called once, after Start.
func (c *Cmd) Wait() error {
	if c.Process == nil {
		return fmt.Errorf("wait for command %q: %w", c.Path, invalid("it was not started"))
	}
	if c.ProcessState != nil {
		return c.wrap("wait for", invalid("it was waited for before"))
	}
	<-c.Process.exited
	c.ProcessState = c.Process.state()
	err := c.Process.err()
	var timer *time.Timer
	if c.ctxResult != nil {
		watched := <-c.ctxResult
		timer = watched.timer
		if err == nil && watched.err != nil {
			err = c.wrap("wait for", watched.err)
		}
	}
	// What has gone wrong with the streams of a command that was ended may
	// come from that.
	if serr := c.awaitStreams(timer); serr != nil && err == nil {
		err = c.wrap("streams of", serr)
	}
	c.streams.Close()
	c.Process.release()
	return err
}

// ctxResult is what has come of watching a command's context.
type ctxResult struct {
	err   error
	timer *time.Timer // runs for WaitDelay; nil: it was not begun, or is over
}

// watch cancels the command when ctx ends, and enforces WaitDelay from then
// on, until it can hand over to Wait. Until then it may take the result of the
// copies.
func (c *Cmd) watch(result chan<- ctxResult) {
	select {
	case result <- ctxResult{}:
		return
	case <-c.ctx.Done():
	}
	err := c.cancel()
	if c.WaitDelay == 0 {
		result <- ctxResult{err: err}
		return
	}
	timer := time.NewTimer(c.WaitDelay)
	select {
	case result <- ctxResult{err: err, timer: timer}:
		return
	case <-timer.C:
	}
	killed := false
	if kerr := c.Process.Kill(); kerr == nil {
		killed = true
	} else if !errors.Is(kerr, os.ErrProcessDone) {
		err = fmt.Errorf("kill: %w", kerr)
	}
	if c.streams.Copied != nil {
		select {
		case cerr := <-c.streams.Copied:
			if err == nil && !killed {
				err = cerr
			}
		default:
			// After the killing: the process should die of that, and not of
			// SIGPIPE.
			c.streams.Close()
			<-c.streams.Copied
			if err == nil {
				err = exec.ErrWaitDelay
			}
		}
		c.streams.Copied = nil
	}
	result <- ctxResult{err: err}
}

// cancel calls Cancel, and tells what Wait is to make of an exit code 0.
func (c *Cmd) cancel() error {
	if c.Cancel == nil {
		return nil
	}
	switch err := c.Cancel(); {
	case err == nil:
		return c.ctx.Err()
	case errors.Is(err, os.ErrProcessDone):
		return nil
	default:
		return fmt.Errorf("cancel: %w", err)
	}
}

// awaitStreams waits for the copies. timer is that of watch, if it was begun.
func (c *Cmd) awaitStreams(timer *time.Timer) error {
	if c.streams.Copied == nil {
		return nil
	}
	defer func() { c.streams.Copied = nil }()
	var late <-chan time.Time
	if timer == nil && c.WaitDelay != 0 {
		timer = time.NewTimer(c.WaitDelay)
	}
	if timer != nil {
		defer timer.Stop()
		late = timer.C
	}
	select {
	case err := <-c.streams.Copied:
		return err
	default:
	}
	select {
	case err := <-c.streams.Copied:
		return err
	case <-late:
		c.streams.Close()
		<-c.streams.Copied
		return exec.ErrWaitDelay
	}
}
