package ready

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"github.com/ctorhq/ctor/internal/logfile"
)

// Lines counts the lines of a log that match an expression.
type Lines struct {
	Expr  *regexp.Regexp
	Want  int
	Found int

	line []byte // the last, which has not ended
}

const maxLine = 16 << 10

// Read counts the lines of log until there are enough. What is missing in the log
// does not match.
func (l *Lines) Read(log io.Reader) error {
	l.Found, l.line = 0, nil
	chunk := make([]byte, maxLine)
	for {
		n, err := log.Read(chunk)
		if l.enough(chunk[:n]) {
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, logfile.ErrGap):
			l.line = nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}

// enough takes more output, and tells whether there are as many lines as wanted.
func (l *Lines) enough(more []byte) bool {
	l.line = append(l.line, more...)
	for {
		line, rest, ended := bytes.Cut(l.line, []byte("\n"))
		if !ended && len(l.line) >= maxLine {
			line, rest, ended = l.line[:maxLine], l.line[maxLine:], true
		}
		matches := (ended || len(line) > 0) && l.Expr.Match(bytes.TrimSuffix(line, []byte("\r")))
		if !ended {
			return l.Found >= l.Want || matches && l.Found+1 >= l.Want
		}
		if matches {
			l.Found++
		}
		l.line = rest
	}
}
