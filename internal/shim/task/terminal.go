package task

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// terminal copies between the master of a process's terminal and the process's
// fifos. All its files are in Go's poller, so closing one ends the copies.
type terminal struct {
	in, out *os.File // nil: no input; output that is dropped
	log     *log     // nil: out it is
	copies  sync.WaitGroup

	mu      sync.Mutex
	console *os.File // nil: not yet, or no more
}

func newTerminal(in, out *os.File, log *log) *terminal { return &terminal{in: in, out: out, log: log} }

// attach begins to copy.
func (t *terminal) attach(console *os.File) {
	t.mu.Lock()
	t.console = console
	t.mu.Unlock()
	var out io.Writer = io.Discard // a full terminal blocks its writers
	if t.out != nil {
		out = t.out
	}
	// It ends when no process has the terminal open any more.
	if t.log != nil {
		t.log.console(console)
	} else {
		t.copies.Go(func() { _, _ = io.Copy(out, console) })
	}
	if t.in != nil {
		go func() { _, _ = io.Copy(console, t.in) }() // ends with close
	}
}

func (t *terminal) resize(width, height uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.console == nil {
		return fmt.Errorf("the terminal is closed: %w", errdefs.ErrFailedPrecondition)
	}
	raw, err := t.console.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	})
	return errors.Join(err, ierr)
}

// terminalPatience is how long a terminal's last bytes wait for a reader once
// the process is deleted.
const terminalPatience = 500 * time.Millisecond

// hurry gives the output little more time.
func (t *terminal) hurry() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.console == nil {
		return
	}
	deadline := time.Now().Add(terminalPatience)
	_ = t.console.SetReadDeadline(deadline)
	if t.out != nil {
		_ = t.out.SetWriteDeadline(deadline)
	}
}

func (t *terminal) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []*os.File{t.in, t.out, t.console} {
		if f != nil {
			f.Close()
		}
	}
	t.console = nil
}
