package logfile

import (
	"errors"
	"io"
)

// Fill puts a line where output is missing, so that no Read gives ErrGap. It begins
// on a line of its own.
func Fill(log io.ReadCloser, line string) io.ReadCloser {
	return &filled{ReadCloser: log, line: line + "\n"}
}

type filled struct {
	io.ReadCloser
	line   string
	rest   string // of it, still to be read
	within bool   // a line of the output
}

// Read implements io.Reader.
func (f *filled) Read(p []byte) (int, error) {
	if f.rest == "" {
		n, err := f.ReadCloser.Read(p)
		if n > 0 {
			f.within = p[n-1] != '\n'
		}
		if !errors.Is(err, ErrGap) {
			return n, err
		}
		f.rest = f.line
		if f.within {
			f.rest = "\n" + f.rest
		}
		f.within = false
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
