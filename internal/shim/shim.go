// Package shim is the process between an engine and its containers: where it
// comes from, how it is reached, and what it does when the program ends.
//
// A shim is the program containerd-shim-ctor-v2 where that is installed, else
// the program itself, executed again (package self). It serves containerd's task
// API over a connection that it inherits, so nobody else can reach it. An
// executor runs the containers: runc as a library, or its command.
//
// There are two kinds, and both hold the read end of a pipe whose write end only
// the program has: their lifeline. One attached shim serves all containers that
// live and die with the program: when the lifeline closes, by whatever means
// the program ended, it kills its containers, undoes them and exits. A detached
// shim serves one container, listens on a socket in that container's
// directory, and stays, unless the program ended before there was a container.
//
// The library and the shim are of one version, or of two that speak the same
// link.Protocol. A shim is told the program's with its arguments, which costs
// nothing, and refuses any but its own; then the engine asks the shim's file for
// its number, and names both. The socket of a detached shim tells it to
// the programs that find it.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Log is the name of a shim's log: of a detached one's in its directory.
const Log = "shim.log"

// Sockets matches the names of detached shims' sockets in their directories.
// They have the protocol in them: whoever finds one knows whether to speak.
const Sockets = socketPrefix + "*" + socketSuffix

const (
	socketPrefix = "task-"
	socketSuffix = ".sock"
	socket       = socketPrefix + link.Protocol + socketSuffix
)

// Shim is the engine's end of a running shim process.
type Shim struct {
	taskapi.TTRPCTaskService

	detached bool
	strange  string   // directory of one that speaks another protocol; "": it speaks ours
	process  *process // nil: another program started it
	lifeline *os.File // nil: likewise
	client   *ttrpc.Client
	events   *eventStream // nil: none
	gone     chan struct{}
	once     sync.Once
	err      error // of Close
}

// Events receives what happens in the shim's containers.
type Events = eventsapi.TTRPCEventsService

// Attach starts a shim for containers that end with this program. It sees an
// empty dir of its own, for bundles.
func (p *Program) Attach(dir, log string, events Events) (_ *Shim, err error) {
	var undo unwind.Stack
	defer undo.OnError(&err)
	ours, theirs, err := socketpair("tasks")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	undo.Close(ours)
	oursEvents, theirsEvents, err := socketpair("events")
	if err != nil {
		return nil, err
	}
	defer theirsEvents.Close()
	undo.Close(oursEvents)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	undo.Close(w)
	child, err := p.start(link.Attached, dir, log, theirs, r, theirsEvents)
	if err != nil {
		return nil, err
	}
	stream, err := serveEvents(oursEvents, events)
	if err != nil {
		child.kill()
		return nil, err
	}
	s := &Shim{process: child, lifeline: w, events: stream, gone: make(chan struct{})}
	s.speak(ours)
	return s, nil
}

// Detach starts a shim for one container that outlives this program. It is found
// again through its socket in dir.
func (p *Program) Detach(dir string) (_ *Shim, err error) {
	l, err := listen(dir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	child, err := p.start(link.Detached, dir, filepath.Join(dir, Log), l, r)
	if err != nil {
		w.Close()
		return nil, err
	}
	s, err := Connect(filepath.Join(dir, socket))
	if err != nil {
		child.kill()
		w.Close()
		return nil, err
	}
	s.process, s.lifeline = child, w
	return s, nil
}

// IsDead tells of Connect's error that nobody listens any more. After another
// one nothing is known.
func IsDead(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// Connect reaches the detached shim that listens on a socket. One that speaks
// another protocol can only be ended, with Evict: every request is
// errdefs.ErrFailedPrecondition.
func Connect(path string) (*Shim, error) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	c, err := net.Dial("unix", socketPath(d, name))
	if err != nil {
		return nil, fmt.Errorf("connect to the shim in %s: %w", dir, errors.Unwrap(err))
	}
	s := &Shim{detached: true, gone: make(chan struct{})}
	if name == socket {
		s.speak(c)
	} else {
		s.strange = dir
		s.speak(c, ttrpc.WithUnaryClientInterceptor(s.stranger(name)))
	}
	return s, nil
}

// speak begins to speak with the shim.
func (s *Shim) speak(c net.Conn, o ...ttrpc.ClientOpts) {
	s.client = ttrpc.NewClient(impatient{c}, append(o, ttrpc.WithOnClose(func() { close(s.gone) }))...)
	s.TTRPCTaskService = taskapi.NewTTRPCTaskClient(s.client)
}

// impatient is a connection whose other end is to read. One that was stopped
// would hold whoever writes for ever, whatever his context says.
type impatient struct{ net.Conn }

// writeLimit is how long the other end may read nothing while its buffer is
// full.
var writeLimit = 30 * time.Second

func (c impatient) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeLimit))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close() // a part of a message can't be taken back
	}
	return n, err
}

// Detached tells whether the shim serves one container, which outlives this
// program.
func (s *Shim) Detached() bool { return s.detached }

// Gone is closed when the shim can no longer be reached.
func (s *Shim) Gone() <-chan struct{} { return s.gone }

// Ended waits for the end of a shim that can no longer be reached: before, it
// may go on with what it was doing.
func (s *Shim) Ended() {
	if s.process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	s.process.wait(ctx)
}

// Close lets go of the shim. An attached one undoes what is left of its
// containers and ends, and Close waits for that; a detached one goes on. A
// second Close waits for the first and returns what it returned: that the shim
// did not end, and was killed.
func (s *Shim) Close() error {
	s.once.Do(func() {
		if s.lifeline != nil {
			s.lifeline.Close()
		}
		if !s.detached {
			s.err = s.process.end(undoLimit)
		}
		s.client.Close()
		<-s.gone
		if s.events != nil {
			s.events.close()
		}
		if s.process != nil {
			s.process.release()
		}
	})
	return s.err
}

// undoLimit is how long an attached shim may take to undo its containers. One
// that was stopped, or that the kernel holds, never would; what it leaves is for
// the next Open.
const undoLimit = time.Minute

// stopLimit is how long a shim may take to end that has nothing left to do.
const stopLimit = 10 * time.Second

// Stop ends a detached shim whose container has been deleted, and waits for it.
func (s *Shim) Stop(ctx context.Context, id string) {
	if s.detached {
		ctx, cancel := context.WithTimeout(ctx, stopLimit)
		defer cancel()
		_, _ = s.Shutdown(ctx, &taskapi.ShutdownRequest{ID: id, Now: true}) // answered by its end
		select {
		case <-s.gone:
		case <-ctx.Done():
		}
		if s.process != nil {
			s.process.wait(ctx)
		}
	}
	_ = s.Close() // has no error for a detached one
}

// listen makes the socket that a detached shim inherits. The path is taken
// relative to the directory's descriptor: a socket's own path may have no more
// than 107 bytes, and roots can be long.
func listen(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	_ = os.Remove(filepath.Join(dir, socket)) // of a dead one
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(d, socket), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	return l.File()
}

func socketPath(dir *os.File, name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name)
}
