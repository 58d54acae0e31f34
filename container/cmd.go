package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/stdio"
)

// Cmd is a command in a container, prepared or running: os/exec's Cmd, field
// for field and method for method. [Container.Command] and
// [image.Image.Command] make one. It can't be used again after Start, Run,
// Output or CombinedOutput.
//
// What differs from os/exec is what a container makes different, and is said
// with the field.
//
// [image.Image.Command]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Command
type Cmd struct {
	// Path is the command, a path in the container or a name. A relative path
	// counts from Dir. A name without a slash is looked up in the container's
	// PATH, by Start and not by Command as in os/exec: before, the container may
	// not run, or not exist. PATH in Env does not change where it is found.
	Path string

	// Args are the arguments, with the command as Args[0]. Empty means Path
	// alone. Args[0] is what the command sees as its own name, if it means
	// Path; else the command sees Path, since no runtime knows the difference.
	Args []string

	// Env is the environment, as "NAME=value"; of one name the last wins. nil
	// means the container's own, with the HOME of User, PWD as Dir, and TERM
	// where there is a terminal. The program's environment is not passed on.
	// HOME is there in any case.
	Env []string

	// Dir is the working directory, which must exist. A relative one counts
	// from the container's own. "" means the container's own.
	Dir string

	// User is "name", "uid", "name:group" or "uid:gid", looked up in the
	// container's passwd and group files. "" means the container's own.
	User string

	// Stdin is the standard input. nil is empty. Else Wait returns after it has
	// ended, or the command has and a Read has returned, as with os/exec; for an
	// *os.File it does not wait.
	//
	// The container never gets an *os.File itself, here and below: it could do
	// more with it than read or write. It is copied from and to, and Start
	// makes its own descriptor of it, so that it can be closed after Start.
	Stdin io.Reader

	// Stdout and Stderr are the standard output and error. nil is /dev/null.
	// Wait returns after the last byte of them; of an *os.File too, where
	// os/exec does not wait for a process that the command has left behind.
	//
	// If they are the same writer, of a type that can be compared, they are
	// one stream: at most one goroutine at a time writes to it, in the order
	// in which the command wrote.
	//
	// When a writer fails, the command gets SIGPIPE at its next write.
	Stdout, Stderr io.Writer

	// TTY gives the command a terminal, on which Stdout has both streams and
	// Stderr nothing. When Stdin ends, the terminal is sent ^D; a program that
	// has it in raw mode reads that as a character.
	TTY bool

	// Process is the process, once started.
	Process *Process

	// ProcessState tells how it ended, once Wait has returned.
	ProcessState *ProcessState

	// Cancel is called when the command's context ends while it runs. Command
	// sets it to kill the process; what that has started goes on, as with
	// os/exec, unless it is set to [Process.KillTree]. nil does nothing, except
	// that WaitDelay begins.
	//
	// If the command then ends with code 0, Wait gives the context's error, or
	// one that wraps Cancel's own; unless that is os.ErrProcessDone, which
	// says that there was nothing to cancel any more.
	Cancel func() error

	// WaitDelay bounds how long Wait waits, from the end of the context or of
	// the command, for the command to end and for the streams, which a process
	// that it has left behind may hold open. Then it is killed and the streams
	// are closed; a Wait that would have been nil is exec.ErrWaitDelay. 0
	// means no bound.
	WaitDelay time.Duration

	ctx   context.Context
	place place

	streams stdio.Streams
	started atomic.Bool
	bounds  life.Bounds

	width, height uint16 // of the terminal; 0: the kernel's own choice
}

// place is where a command runs.
type place interface {
	fmt.Stringer
	engine() *engine.Engine
	// first is the process that the command takes after.
	first() (*specs.Process, error)
	// start starts the command on the ends of its pipes; "" is /dev/null.
	start(ctx context.Context, c spec.Command, on cio.Config) (*Process, error)
}

// Command makes a command to run in the container, which must run when the
// command is started. The end of ctx kills it, and not what it has started: see
// Cmd.Cancel. It panics if ctx is nil.
//
// Only Path and Args are set, and Cancel. Args[0] is name.
func (c *Container) Command(ctx context.Context, name string, arg ...string) *Cmd {
	return command(ctx, running{c}, name, arg)
}

func command(ctx context.Context, p place, name string, arg []string) *Cmd {
	if ctx == nil {
		panic("nil Context")
	}
	cmd := &Cmd{Path: name, Args: append([]string{name}, arg...), ctx: ctx, place: p}
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	return cmd
}

// String describes the command for people.
func (c *Cmd) String() string {
	return strings.Join(append([]string{c.Path}, c.Args[min(1, len(c.Args)):]...), " ")
}

// Environ is a copy of the environment that the command would have as it is
// set up now, as far as that is known without looking into the container: HOME
// may become that of User.
func (c *Cmd) Environ() []string {
	if c.place == nil {
		return nil
	}
	first, err := c.place.first()
	if err != nil {
		return nil
	}
	env, _ := c.spec().Environ(first)
	return env
}

func (c *Cmd) spec() spec.Command {
	return spec.Command{
		Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User,
		TTY: c.TTY, Width: c.width, Height: c.height,
	}
}

// Run starts the command and waits for it; its errors are those of Start and
// Wait.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Start starts the command and does not wait for it. Afterwards Wait must be
// called, to let go of what the command has.
//
// A command that is not there is exec.ErrNotFound and ctor.ErrNotFound, one
// that can't be executed is fs.ErrPermission or ctor.ErrInvalid, a User that
// is not there is ctor.ErrNotFound. A container that does not run, or is paused, is
// ctor.ErrInvalid. The end of ctx ends the search for the command and its user in
// the container's files; a start that has begun after that is seen through.
//
// With the runc command instead of the installed shim, a hostile container can hold
// up Start for half a minute: runc 1.1 reads its /etc/passwd once more, which may
// have become a fifo, or a link to a file without end. And the command's parent is
// runc until Start returns: a command that asks for a signal at its parent's death
// (PR_SET_PDEATHSIG) before that gets it then.
//
// A container near its limit of processes is lent some for the start. Where the
// limit keeps the command from starting all the same, that is ctor.ErrUnavailable,
// and says so.
//
// Arguments, variables and Dir reach the command as they are. A string that is not
// UTF-8 is ctor.ErrInvalid: runtimes are told in JSON.
func (c *Cmd) Start() (err error) {
	if c.place == nil {
		return errors.New("start command: it was not made by Command")
	}
	if c.started.Swap(true) {
		return c.wrap("start", invalid("it was started before"))
	}
	var end func(*error)
	c.ctx, end = span.Begin(c.ctx, "exec", span.Container.String(fmt.Sprint(c.place)), span.Command.String(c.Path))
	defer end(&err)
	if err := c.start(); err != nil {
		c.streams.Close()
		return c.wrap("start", err)
	}
	p := c.Process.life
	c.streams.Begin(stdio.Kind{Relay: p.Relay, EOF: p.CloseInput, Ended: p.Exited()})
	c.bounds = life.Bounds{Context: c.ctx, Cancel: c.Cancel, Kill: c.Process.Kill, Delay: c.WaitDelay, Copies: &c.streams}
	c.bounds.Watch()
	return nil
}

func (c *Cmd) start() error {
	if c.Path == "" {
		return invalid("no command")
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	stdout, stderr := c.Stdout, c.Stderr
	if c.place.engine().Backend.Relays(false) {
		stdout, stderr = orDiscard(stdout), orDiscard(stderr)
	}
	err := c.streams.Open(c.Stdin, stdout, stderr, c.TTY)
	if err != nil {
		return err
	}
	c.Process, err = c.place.start(c.ctx, c.spec(), c.streams.Config())
	return err
}

// orDiscard gives a runtime that relays output a place for it.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

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
	<-c.Process.life.Exited()
	exit, _, _ := c.Process.life.Exit()
	c.ProcessState = &ProcessState{c.Process.Pid, exit}
	err := c.Process.err()
	cause, copies := c.bounds.Wait()
	if err == nil && cause != nil {
		err = c.wrap("wait for", cause)
	}
	// What has gone wrong with the streams of a command that was ended may come
	// from that.
	if err == nil && copies != nil {
		err = c.wrap("streams of", copies)
	}
	c.streams.Close()
	c.Process.life.Release()
	return err
}

// wrap names the operation, the command and where it runs.
func (c *Cmd) wrap(op string, err error) error {
	return fmt.Errorf("%s command %q in %v: %w", op, c.Path, c.place, err)
}
