package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/containerd/errdefs"
)

// logger is a program that takes a container's output, as containerd's
// "binary" log URIs name it: the output arrives on descriptors 3 and 4, and it
// writes to 5 when it is ready.
//
// Our engine needs none, since the shim writes its log itself. But a stock
// containerd runs this shim too, and its clients name one: nerdctl for every
// container that it detaches, and our own Dial.
type logger struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// loggerPatience is how long a logger may take to become ready.
const loggerPatience = 10 * time.Second

// startLogger starts the program and gives the ends that the container writes
// to.
func startLogger(ctx context.Context, uri, ns, id string) (_ *logger, out, err_ *os.File, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	var files []*os.File // read ends and write ends of output, errors, readiness
	fail := func(err error) (*logger, *os.File, *os.File, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, nil, nil, err
	}
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		files = append(files, r, w)
	}
	var args []string
	query := u.Query()
	for _, k := range slices.Sorted(maps.Keys(query)) {
		args = append(args, k, query.Get(k))
	}
	l := &logger{cmd: exec.Command(u.Path, args...), done: make(chan struct{})}
	l.cmd.Env = append(l.cmd.Env, "CONTAINER_ID="+id, "CONTAINER_NAMESPACE="+ns)
	l.cmd.ExtraFiles = []*os.File{files[0], files[2], files[5]}
	if err := l.start(); err != nil {
		return fail(err)
	}
	for _, f := range l.cmd.ExtraFiles {
		f.Close()
	}
	ready := files[4]
	defer ready.Close()
	if err := awaitByte(ctx, ready); err != nil {
		_ = l.cmd.Process.Kill()
		<-l.done
		files[1].Close()
		files[3].Close()
		return nil, nil, nil, fmt.Errorf("%s did not get ready: %w", u.Path, err)
	}
	return l, files[1], files[3], nil
}

func (l *logger) start() error {
	defer children.enter()()
	if err := l.cmd.Start(); err != nil {
		return err
	}
	pid := l.cmd.Process.Pid
	children.know(pid)
	go func() {
		defer close(l.done)
		_ = l.cmd.Wait()
		children.forget(pid)
	}()
	return nil
}

func awaitByte(ctx context.Context, r *os.File) error {
	if err := r.SetReadDeadline(time.Now().Add(loggerPatience)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := io.ReadFull(r, make([]byte, 1))
	return errors.Join(err, ctx.Err())
}

// close waits for the logger, whose input has ended. One that hangs is killed.
func (l *logger) close() {
	go func() {
		select {
		case <-l.done:
		case <-time.After(loggerPatience):
			_ = l.cmd.Process.Kill()
		}
	}()
}
