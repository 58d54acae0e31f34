package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/runtime/v2/logging"
	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/reexec"
)

// The roles of the logger of a detached container: the process that keeps its log
// when the program is gone.
const (
	loggerRole = "log-v1"
	ttyRole    = "log-tty-v1"
)

// The container's shim starts the logger, with the log's path, and hands it
// the container's output.
func init() {
	trust := func() error { return reexec.OwnPipes(3, 4, 5) } // as containerd's logging.Run has them
	reexec.Role{Name: loggerRole, Trust: trust, Run: func(args []string) error { return runLogger(args, 0) }}.Hook()
	// The shim copies from the terminal, a little later.
	reexec.Role{Name: ttyRole, Trust: trust, Run: func(args []string) error { return runLogger(args, 2*time.Second) }}.Hook()
}

// runLogger does not return, unless its arguments make no sense.
func runLogger(args []string, grace time.Duration) error {
	limit, path, ok := strings.Cut(strings.Join(args, " "), ":")
	bound, err := strconv.ParseInt(limit, 10, 64)
	if !ok || err != nil || len(args) != 1 {
		return fmt.Errorf("a logger's arguments can't be %q", args)
	}
	logging.Run(func(ctx context.Context, c *logging.Config, ready func() error) error {
		return keep(ctx, path, bound, grace, c.Stdout.(*os.File), c.Stderr.(*os.File), ready)
	})
	return nil
}

// Logger has the shim start program as a logger that writes to path, with a
// limit as for logfile.Create. It is for shims that are not ours, which write
// logs themselves. The logger learns from SetPid whose end it is to see.
func Logger(program, path string, limit int64, tty bool) cio.Creator {
	// One argument: stock shims give several in any order.
	to := strconv.FormatInt(limit, 10) + ":" + path
	if tty {
		return cio.TerminalBinaryIO(program, map[string]string{reexec.Mark(ttyRole): to})
	}
	return cio.BinaryIO(program, map[string]string{reexec.Mark(loggerRole): to})
}

// SetPid tells the logger that writes to path the container's first process.
func SetPid(path string, pid int) error {
	file := pidFile(path)
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// ForgetPid is called before a logger is to see the end of another process.
func ForgetPid(path string) error {
	if err := os.Remove(pidFile(path)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func pidFile(path string) string { return filepath.Join(filepath.Dir(path), "pid") }

// keep copies output to the log until the container has ended. containerd's
// shim holds the writing end of the pipes as long as the container is not
// deleted, so their end is not what to wait for.
func keep(ctx context.Context, path string, limit int64, grace time.Duration, out, eout *os.File, ready func() error) error {
	log, err := logfile.Create(path, limit)
	if err != nil {
		return err
	}
	stop, ended, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	go func() {
		awaitEnd(ctx, pidFile(path))
		time.Sleep(grace)
		ended.Close()
	}()
	var copies sync.WaitGroup
	for s, f := range map[logfile.Stream]*os.File{logfile.Stdout: out, logfile.Stderr: eout} {
		copies.Go(func() {
			defer f.Close()
			_ = log.Copy(s, nil, draining{f, stop}) // the log itself says what it lacks
		})
	}
	copies.Wait()
	return log.End()
}

// awaitEnd waits until the process that file names has ended, or ctx.
func awaitEnd(ctx context.Context, file string) {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var pid int
	for pid == 0 {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			b, _ := os.ReadFile(file)
			pid, _ = strconv.Atoi(string(b))
		}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended, and been reaped
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if n > 0 || err != nil && err != unix.EINTR || ctx.Err() != nil {
			return
		}
	}
}

// draining reads a pipe until it is at its end, or is empty after the writing
// end of stop was closed.
type draining struct{ pipe, stop *os.File }

func (d draining) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(d.pipe.Fd()), Events: unix.POLLIN}, {Fd: int32(d.stop.Fd()), Events: unix.POLLIN}}
	timeout := -1
	for {
		n, err := unix.Poll(fds, timeout)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case fds[0].Revents&unix.POLLIN != 0:
			return d.pipe.Read(p)
		case fds[0].Revents != 0, n == 0:
			return 0, io.EOF
		case fds[1].Revents != 0:
			// Look once more: it may have been written to since this poll
			// looked at it.
			fds, timeout = fds[:1], 0
		}
	}
}
