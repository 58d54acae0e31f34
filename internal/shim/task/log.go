package task

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// log is one that the shim writes itself: of a container whose program may be
// gone, and with no process more for it.
type log struct {
	w       *logfile.Writer
	sources []*os.File // of output, on this side
	pipes   []func()   // copies that are to begin
	copies  sync.WaitGroup
	once    sync.Once
}

// logPatience is how long a process's end is kept back for a disk that takes
// nothing. What is not in the log then comes into it when the disk goes on.
const logPatience = 5 * time.Second

// openLog starts a log, and gives what the process is to write to. One with a
// terminal writes to that, and the log copies from it later.
func openLog(uri string, terminal bool) (_ *log, out, err_ *os.File, err error) {
	path, limit, err := link.ParseLogURI(uri)
	if err != nil {
		return nil, nil, nil, err
	}
	l := &log{}
	if l.w, err = logfile.Create(path, limit); err != nil {
		return nil, nil, nil, err
	}
	if terminal {
		return l, nil, nil, nil
	}
	if out, err = l.pipe(logfile.Stdout); err == nil {
		err_, err = l.pipe(logfile.Stderr)
	}
	if err != nil {
		if out != nil {
			out.Close()
		}
		l.finish()
		return nil, nil, nil, err
	}
	return l, out, err_, nil
}

// pipe makes a source of a pipe and gives its other end, which blocks.
func (l *log) pipe(s logfile.Stream) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, os.NewSyscallError("fcntl", err)
	}
	from := os.NewFile(uintptr(fds[0]), "output")
	l.sources = append(l.sources, from)
	l.pipes = append(l.pipes, func() { l.copy(s, from) })
	return os.NewFile(uintptr(fds[1]), "output"), nil
}

// begin begins to copy from the pipes, once the process was started. Before, what
// is in them is not its: an executor complains there.
func (l *log) begin() {
	for _, copy := range l.pipes {
		copy()
	}
	l.pipes = nil
}

// console begins to copy from a terminal.
func (l *log) console(from *os.File) {
	l.sources = append(l.sources, from)
	l.copy(logfile.Stdout, from)
}

// copy begins to copy a source, in Go's poller.
func (l *log) copy(s logfile.Stream, from *os.File) {
	l.copies.Go(func() {
		_ = l.w.Copy(s, nil, &source{f: from, left: -1}) // the log itself says what it lacks
	})
}

// finish is called when the process has ended, and all that had its output as
// well: what is there is the rest. It returns when that is in the log.
func (l *log) finish() { l.once.Do(l.end) }

func (l *log) end() {
	for _, f := range l.sources {
		_ = f.SetReadDeadline(time.Now())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.copies.Wait()
		_ = l.w.End()
		for _, f := range l.sources {
			f.Close()
		}
	}()
	select {
	case <-done:
	case <-time.After(logPatience):
	}
}

// source is a file. When its deadline has passed, what is in it is still read, and no
// more: another process, to which the container has passed it, may write on.
type source struct {
	f    *os.File
	left int // bytes that are still read; less than 0: its deadline has not passed
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.left < 0 {
		n, err := s.f.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
	raw, err := s.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		if s.left < 0 {
			s.left = capacity(int(fd))
		}
		n, _ = unix.Read(int(fd), p[:min(len(p), s.left)]) // does not wait
	})
	if err != nil || n <= 0 {
		return 0, io.EOF
	}
	s.left -= n
	return n, nil
}

// capacity is the most that can be in a pipe or terminal.
func capacity(fd int) int {
	if n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil {
		return n
	}
	return 1 << 20
}
