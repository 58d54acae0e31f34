package container

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Exec holds when a command ends with code 0 in the container, run as
// [Container.Command] runs it. A look of more than 30 seconds is cut off and
// asked again.
//
// A command that the container does not have is exec.ErrNotFound, and ends
// WaitReady at once, and so does Exec of none, which is ctor.ErrInvalid.
func Exec(args ...string) Probe {
	return func(ctx context.Context, c *Container) error {
		if len(args) == 0 {
			return &never{fmt.Errorf("exec: %w", invalid("there is no command"))}
		}
		err := c.check(ctx, lookLimit, args)
		if err != nil {
			err = fmt.Errorf("exec %s: %w", brief(strings.Join(args, " ")), err)
		}
		if errors.Is(err, exec.ErrNotFound) {
			return &never{err}
		}
		return err
	}
}

// check runs a command that tells by its exit code. The error has the code, or
// that it took too long, and what the command said; no *ExitError: that is
// for the end of the container. It is a *cut where that end may have been the
// cause. The time to start it does not count: that is the host's doing, not the
// command's.
func (c *Container) check(ctx context.Context, limit time.Duration, args []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	said := newMargins(saidLimit)
	cmd := c.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second // a child of it may go on for ever
	err := cmd.Start()
	if err == nil {
		late := time.AfterFunc(limit, func() { cancel(fmt.Errorf("it took more than %v", limit)) })
		defer late.Stop()
		err = cmd.Wait()
	}
	if err == nil {
		return nil
	}
	var exit *ExitError
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case cmd.Process != nil && cmd.Process.ender != nil:
		err = &cut{cmd.Process.ender}
	case errors.As(err, &exit):
		err = errors.New(describe(exit.Code))
		if exit.Signal == syscall.SIGKILL {
			err = &cut{err}
		}
	default: // it was not started, or its end not seen
		err = &cut{err}
	}
	if text := brief(string(said.bytes())); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// cut is the error of a look that the end of the container or of the engine may
// have cut short.
type cut struct{ error }

func (e *cut) Unwrap() error { return e.error }

// saidLimit is what is kept of the beginning and the end of what a command
// says, in bytes.
const saidLimit = 1 << 10

// brief is a stranger's text for a line of an error.
func brief(text string) string {
	text = strings.Join(strings.Fields(plain([]byte(text))), " ")
	if len(text) > 2*tailLine {
		text = strings.ToValidUTF8(text[:2*tailLine], "") + "..."
	}
	return text
}
