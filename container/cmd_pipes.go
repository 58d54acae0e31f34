package container

import (
	"io"
	"os"
)

// StdinPipe gives a pipe that is the command's standard input. Wait closes it;
// a caller that closes it sooner ends the input. Stdin must be nil.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil {
		return nil, c.wrap("stdin of", invalid("Stdin is set"))
	}
	r, w, err := c.pipe("stdin of")
	if err != nil {
		return nil, err
	}
	c.Stdin = r
	c.theirs, c.ours = append(c.theirs, r), append(c.ours, w)
	return w, nil
}

// StdoutPipe gives a pipe that is the command's standard output. Wait closes
// it, so all must have been read before, and Run is no use. Stdout must be nil.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if c.Stdout != nil {
		return nil, c.wrap("stdout of", invalid("Stdout is set"))
	}
	r, w, err := c.outPipe("stdout of")
	if err != nil {
		return nil, err
	}
	c.Stdout = w
	return r, nil
}

// StderrPipe gives a pipe that is the command's standard error. Wait closes
// it, so all must have been read before, and Run is no use. Stderr must be nil.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if c.Stderr != nil {
		return nil, c.wrap("stderr of", invalid("Stderr is set"))
	}
	r, w, err := c.outPipe("stderr of")
	if err != nil {
		return nil, err
	}
	c.Stderr = w
	return r, nil
}

func (c *Cmd) outPipe(op string) (r, w *os.File, err error) {
	if r, w, err = c.pipe(op); err == nil {
		c.theirs, c.ours = append(c.theirs, w), append(c.ours, r)
	}
	return r, w, err
}

func (c *Cmd) pipe(op string) (r, w *os.File, err error) {
	if c.Process != nil {
		return nil, nil, c.wrap(op, invalid("it was started before"))
	}
	return os.Pipe()
}
