package build

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

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/sshforward"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/unwind"
)

// agentSockets makes the sockets of the agents that the command mounts, in dir, and
// answers on them until undo.
func (s step) agentSockets(ctx context.Context, dir, cwd string, undo *unwind.Stack) (list []specs.Mount, err error) {
	for n, m := range s.agents {
		caller, err := s.agent(ctx, m.SSHOpt.GetID())
		if errors.Is(err, ctor.ErrNotFound) && m.SSHOpt.GetOptional() {
			continue
		}
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "agent-"+strconv.Itoa(n))
		l, err := listenAgent(file, m.SSHOpt)
		if err != nil {
			return nil, err
		}
		f := &forward{listener: l, caller: caller, id: m.SSHOpt.GetID()}
		f.start(ctx)
		undo.Push(f.Close)
		list = append(list, handed(file, m, cwd))
	}
	return list, nil
}

// agent asks the step's build whether it has one.
func (s step) agent(ctx context.Context, id string) (caller session.Caller, err error) {
	err = s.sessions.Any(ctx, s.build, func(ctx context.Context, _ string, c session.Caller) error {
		caller = c
		return sshforward.CheckSSHID(ctx, c, id)
	})
	if c := grpcerrors.Code(err); c == codes.NotFound || c == codes.Unimplemented {
		if id == "" {
			id = sshforward.DefaultID
		}
		return nil, fmt.Errorf("ssh agent %q is not among Options.SSH: %w", id, ctor.ErrNotFound)
	}
	return caller, err
}

// listenAgent makes a socket. Its path may be longer than an address can be.
func listenAgent(file string, o *pb.SSHOpt) (net.Listener, error) {
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(file)))
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it goes with its directory
	err = os.Lchown(file, int(o.GetUid()), int(o.GetGid()))
	if err == nil {
		err = os.Chmod(file, fs.FileMode(o.GetMode()&0o777))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// maxForwards is how many connections to one agent a step may have open at once.
const maxForwards = 32

// forward passes connections to a socket on to an agent of the build's.
type forward struct {
	listener net.Listener
	caller   session.Caller
	id       string
	stop     context.CancelFunc
	under    sync.WaitGroup
}

func (f *forward) start(ctx context.Context) {
	ctx, f.stop = context.WithCancel(f.caller.Context(context.WithoutCancel(ctx)))
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(sshforward.KeySSHID, f.id))
	f.under.Go(func() { f.accept(ctx) })
}

// accept serves at most maxForwards connections at once; further ones wait in the
// socket's queue. An error, such as that of a program without free descriptors, passes.
func (f *forward) accept(ctx context.Context) {
	free := make(chan struct{}, maxForwards)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-free
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return
			}
			continue
		}
		f.under.Go(func() {
			defer func() { <-free }()
			f.serve(ctx, c)
		})
	}
}

func (f *forward) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	stream, err := sshforward.NewSSHClient(f.caller.Conn()).ForwardAgent(ctx)
	if err != nil {
		return // the command sees a connection that ends
	}
	// Close ends it, also where the command has left the connection to a process.
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = sshforward.Copy(ctx, c, stream, stream.CloseSend)
}

// Close ends all connections and waits for them.
func (f *forward) Close() error {
	f.stop()
	err := f.listener.Close()
	f.under.Wait()
	return err
}
