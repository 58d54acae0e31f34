package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// starting is what a verb that starts a process is given, and what it leaves:
// the process's pid, and the terminal's master. It implements runc.IO: the
// command gets the files, and hands them on.
type starting struct {
	task.Stdio
	pidFile string
	socket  *runc.Socket // nil: no terminal
}

var _ runc.IO = (*starting)(nil)

// begin runs a verb that starts a process. If it fails, or ctx has ended
// meanwhile, the process is ended.
func (c *container) begin(ctx context.Context, stdio task.Stdio, verb func(context.Context, *runc.Runc, *starting) error) (p task.Process, err error) {
	s := &starting{Stdio: stdio, pidFile: c.file("pid")}
	defer os.Remove(s.pidFile)
	if stdio.Terminal {
		dir, err := os.Open(c.dir)
		if err != nil {
			return p, err
		}
		defer dir.Close()
		if s.socket, err = runc.NewConsoleSocket(short(dir, c.file("console"))); err != nil {
			return p, err
		}
		defer s.socket.Close()
	} else if stdio.Out == nil && stdio.Err == nil {
		// Else go-runc would make a pipe for both, and wait for its end: the
		// container's.
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return p, err
		}
		defer null.Close()
		s.Out = null
	}
	err = c.call(ctx, func(ctx context.Context, r *runc.Runc) error { return verb(ctx, r, s) })
	pid, perr := runc.ReadPidFile(s.pidFile)
	if err == nil {
		err = perr
	}
	if err == nil && s.socket != nil {
		p.Console, err = master(s.socket)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end(pid)
		if p.Console != nil {
			p.Console.Close()
		}
		return task.Process{}, err
	}
	p.Pid = pid
	return p, nil
}

// short names a file in dir by this process's descriptor of it, for the command as
// well: the path of a socket may have no more than 107 bytes.
func short(dir *os.File, file string) string {
	return fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getpid(), dir.Fd(), filepath.Base(file))
}

// end kills a process that a command has left, and reaps it. If it is no child
// of this process, the command has done so itself.
func end(pid int) {
	if pid <= 0 {
		return
	}
	if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got != 0 || err != nil {
		return
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// console is the socket as go-runc wants it: a nil *Socket in an interface
// would not be nil.
func (s *starting) console() runc.ConsoleSocket {
	if s.socket == nil {
		return nil
	}
	return s.socket
}

// master receives a terminal's master. What go-runc gives is a blocking file
// that the collector closes: only its descriptor is of use.
func master(s *runc.Socket) (*os.File, error) {
	m, err := s.ReceiveMaster()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "console"), nil
}

// Set implements runc.IO.
func (s *starting) Set(cmd *exec.Cmd) {
	// A nil *os.File in an interface is not nil: os/exec would take it for a
	// file.
	if s.In != nil {
		cmd.Stdin = s.In
	}
	if s.Out != nil {
		cmd.Stdout = s.Out
	}
	if s.Err != nil {
		cmd.Stderr = s.Err
	}
}

// Close implements runc.IO. The files are the caller's.
func (*starting) Close() error { return nil }

// Stdin implements runc.IO.
func (*starting) Stdin() io.WriteCloser { return nil }

// Stdout implements runc.IO.
func (*starting) Stdout() io.ReadCloser { return nil }

// Stderr implements runc.IO.
func (*starting) Stderr() io.ReadCloser { return nil }
