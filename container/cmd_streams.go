package container

import (
	"bytes"
	"errors"
	"io"

	"github.com/ctorhq/ctor/internal/stdio"
)

// stderrKept is how much of the beginning and of the end of stderr an
// ExitError has, as with os/exec.
const stderrKept = 32 << 10

// Output runs the command and gives its standard output. If Stderr is nil,
// the *ExitError of a command that fails has the beginning and the end of its
// standard error, of each 32 KiB. Stdout must be nil.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, c.wrap("output of", invalid("Stdout is set"))
	}
	var out bytes.Buffer
	c.Stdout = &out
	var kept *stdio.Margins
	if c.Stderr == nil && !c.TTY {
		kept = &stdio.Margins{N: stderrKept}
		c.Stderr = kept
	}
	err := c.Run()
	var exit *ExitError
	if kept != nil && errors.As(err, &exit) {
		exit.Stderr = kept.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and gives its standard output and error, in
// the order in which it wrote them. Stdout and Stderr must be nil.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, c.wrap("output of", invalid("Stdout or Stderr is set"))
	}
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.Run()
	return both.Bytes(), err
}

// StdinPipe gives a pipe that is the command's standard input. Wait closes it;
// a caller that closes it sooner ends the input. Stdin must be nil.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if err := c.unset(c.Stdin != nil, "stdin"); err != nil {
		return nil, err
	}
	ours, theirs, err := c.streams.In()
	if err != nil {
		return nil, c.wrap("stdin of", err)
	}
	c.Stdin = theirs
	return ours, nil
}

// StdoutPipe gives a pipe that is the command's standard output. Wait closes
// it, so all must have been read before, and Run is no use. Stdout must be nil.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	return c.readPipe(&c.Stdout, "stdout")
}

// StderrPipe gives a pipe that is the command's standard error. Wait closes
// it, so all must have been read before, and Run is no use. Stderr must be nil.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	return c.readPipe(&c.Stderr, "stderr")
}

func (c *Cmd) readPipe(stream *io.Writer, name string) (io.ReadCloser, error) {
	if err := c.unset(*stream != nil, name); err != nil {
		return nil, err
	}
	ours, theirs, err := c.streams.Out()
	if err != nil {
		return nil, c.wrap(name+" of", err)
	}
	*stream = theirs
	return ours, nil
}

// unset makes sure that it is not too late for a pipe.
func (c *Cmd) unset(set bool, name string) error {
	switch {
	case set:
		return c.wrap(name+" of", invalid("it is set"))
	case c.started.Load():
		return c.wrap(name+" of", invalid("it was started before"))
	}
	return nil
}

// Resize sets the size of the command's terminal, in characters. Before Start it
// is the size that the terminal begins with, else the command is told of the
// change by SIGWINCH. One that has ended is os.ErrProcessDone; one without TTY
// is ctor.ErrInvalid.
func (c *Cmd) Resize(width, height uint16) error {
	if !c.TTY {
		return c.wrap("resize terminal of", invalid("it has none"))
	}
	if c.Process == nil {
		c.width, c.height = width, height
		return nil
	}
	if err := c.Process.life.Resize(width, height); err != nil {
		return c.wrap("resize terminal of", err)
	}
	return nil
}
