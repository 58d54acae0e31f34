package container

import "io"

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
