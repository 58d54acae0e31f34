package container

import (
	"bytes"
	"errors"
	"fmt"
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
	var kept *margins
	if c.Stderr == nil && !c.TTY {
		kept = newMargins(stderrKept)
		c.Stderr = kept
	}
	err := c.Run()
	var exit *ExitError
	if kept != nil && errors.As(err, &exit) {
		exit.Stderr = kept.bytes()
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

// margins keeps the beginning and the end of what is written to it, up to n bytes
// of each.
type margins struct {
	n           int
	first, last []byte
	dropped     int64
}

func newMargins(n int) *margins { return &margins{n: n} }

func (e *margins) Write(p []byte) (int, error) {
	written := len(p)
	if room := e.n - len(e.first); room > 0 {
		k := min(room, len(p))
		e.first, p = append(e.first, p[:k]...), p[k:]
	}
	e.last = append(e.last, p...)
	if extra := len(e.last) - e.n; extra > e.n { // not at each Write
		e.drop(extra)
	}
	return written, nil
}

func (e *margins) drop(k int) {
	e.dropped += int64(k)
	e.last = append(e.last[:0], e.last[k:]...)
}

func (e *margins) bytes() []byte {
	if extra := len(e.last) - e.n; extra > 0 {
		e.drop(extra)
	}
	if e.dropped == 0 {
		return append(e.first, e.last...)
	}
	return fmt.Appendf(e.first, "\n... omitting %d bytes ...\n%s", e.dropped, e.last)
}
