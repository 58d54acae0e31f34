package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Log holds when n lines of the container's output, of both streams, match the
// regular expression (package regexp), since its start. n below 1 means 1.
//
// A line is looked at without its end, and before that has come, so that a
// prompt counts. Of a line longer than 16 KiB each 16 KiB are a line. A
// container that ends after it has written the lines was ready.
//
// An expression that can't be compiled is ctor.ErrInvalid, and ends WaitReady
// at once.
func Log(expr string, n int) Probe {
	re, err := regexp.Compile(expr)
	return func(ctx context.Context, c *Container) error {
		if err != nil {
			return &never{fmt.Errorf("log: %w", invalid("%v", err))}
		}
		m := matcher{re: re, want: max(n, 1)}
		if err := m.follow(ctx, c); err != nil {
			return fmt.Errorf("log %q: %d of %d lines: %w", expr, m.found, m.want, err)
		}
		return nil
	}
}

// matcher counts the lines that match.
type matcher struct {
	re    *regexp.Regexp
	want  int
	found int
	line  []byte // the last, which has not ended
}

const maxLine = 16 << 10

func (m *matcher) follow(ctx context.Context, c *Container) error {
	err := m.read(ctx, c, true)
	if _, ended := context.Cause(ctx).(*ExitError); err != nil && ended {
		// The end may have come before what was written right before it.
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		*m = matcher{re: m.re, want: m.want}
		err = m.read(ctx, c, false)
	}
	return err
}

func (m *matcher) read(ctx context.Context, c *Container, follow bool) error {
	r, err := c.Logs(ctx, &LogOptions{Follow: follow, Current: true})
	if err != nil {
		return err
	}
	defer r.Close()
	chunk := make([]byte, maxLine)
	for {
		n, err := r.Read(chunk)
		if m.enough(chunk[:n]) {
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrLogGap):
			m.line = nil // and what was missed does not match
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}

// enough takes more output, and tells whether there are as many lines as wanted.
func (m *matcher) enough(more []byte) bool {
	m.line = append(m.line, more...)
	for {
		line, rest, ended := bytes.Cut(m.line, []byte("\n"))
		if !ended && len(m.line) >= maxLine {
			line, rest, ended = m.line[:maxLine], m.line[maxLine:], true
		}
		matches := (ended || len(line) > 0) && m.re.Match(bytes.TrimSuffix(line, []byte("\r")))
		if !ended {
			return m.found >= m.want || matches && m.found+1 >= m.want
		}
		if matches {
			m.found++
		}
		m.line = rest
	}
}
