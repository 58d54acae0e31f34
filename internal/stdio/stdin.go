package stdio

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// Path names an open pipe for another process of this host, which may open the
// end that f is: while f is open. So a pipe needs no name in a file system, and
// a program that is killed leaves none there.
func Path(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// stdin is the writing end of a process's input.
type stdin struct {
	file   *os.File
	theirs *os.File // the reading end
	tty    *bool

	mu    sync.Mutex
	begun bool
	ended bool
	kind  Kind
	last  byte
}

// begin is called when there is a process.
func (i *stdin) begin(k Kind) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun, i.kind = true, k
	if i.ended {
		_ = i.end()
	}
}

// Write implements io.Writer.
func (i *stdin) Write(p []byte) (int, error) {
	if i.over() {
		return 0, &os.PathError{Op: "write", Path: i.file.Name(), Err: os.ErrClosed}
	}
	n, err := i.file.Write(p)
	if n > 0 {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.last = p[n-1]
	}
	return n, err
}

func (i *stdin) over() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ended
}

// Close ends the input, once there is a process.
func (i *stdin) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return &os.PathError{Op: "close", Path: i.file.Name(), Err: os.ErrClosed}
	}
	i.ended = true
	if !i.begun {
		return nil
	}
	return i.end()
}

// end ends the input. That of a terminal ends as it does under a person's hands,
// by the character for it: closing it would hang it up, and what the process has
// to say after that would be lost.
func (i *stdin) end() error {
	if *i.tty {
		_, _ = i.file.Write(endOfInput(i.last))
		return nil
	}
	err := i.file.Close()
	if i.kind.Relay && i.kind.EOF != nil {
		i.kind.EOF()
	}
	return err
}

// endOfInput is what ends the input of a terminal after a last byte, 0 if there
// was none: ^D, which ends a line or, at the beginning of one, the input.
func endOfInput(last byte) []byte {
	if last == '\n' || last == 0 {
		return []byte{4}
	}
	return []byte{4, 4}
}

// Feed copies the input of a process. Its error is the input's alone: a
// process need not read.
func Feed(to io.Writer, from io.Reader) error {
	in := &reader{Reader: from}
	_, _ = io.Copy(to, in)
	return in.err
}

// reader keeps what it ended with.
type reader struct {
	io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
