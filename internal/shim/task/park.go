package task

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// Park is Create for a container that gets its command later, by Give. The request
// names no streams. Where the executor can't, it is errdefs.ErrNotImplemented.
func (s *Service) Park(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	return s.create(ctx, r, true)
}

// parkIn has an executor make the container but for its command.
func (c *container) parkIn(e Executor) func(context.Context, Stdio) (Container, Process, error) {
	return func(ctx context.Context, _ Stdio) (Container, Process, error) {
		parker, ok := e.(Parker)
		if !ok {
			return nil, Process{}, fmt.Errorf("park container %s: %w", c.bundle.ID, errdefs.ErrNotImplemented)
		}
		parked, p, err := parker.Park(ctx, c.bundle)
		if err != nil {
			return nil, p, err
		}
		c.parked = parked
		return parked, p, nil
	}
}

// Give gives a container that was parked its command, a link.Command, and streams.
// After an error it can only be deleted.
func (s *Service) Give(ctx context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	var command link.Command
	if err := json.Unmarshal(r.Spec.GetValue(), &command); err != nil || command.Process == nil || len(command.Process.Args) == 0 {
		return nil, errgrpc.ToGRPC(fmt.Errorf("command: it is none (%v): %w", err, errdefs.ErrInvalidArgument))
	}
	command.Process.Terminal = r.Terminal
	if err := c.give(ctx, command, paths{in: r.Stdin, out: r.Stdout, err: r.Stderr, terminal: r.Terminal}); err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("OCI runtime create failed: %w", err))
	}
	return empty, nil
}

func (c *container) give(ctx context.Context, command link.Command, at paths) error {
	c.init.starting.Lock() // it has not been told of its end, or has
	defer c.init.starting.Unlock()
	if c.parked == nil || c.init.current() != tasktypes.Status_CREATED {
		return fmt.Errorf("it waits for no command: %w", errdefs.ErrFailedPrecondition)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	parked := c.parked
	c.parked = nil
	st, child, err := c.open(ctx, at)
	if err != nil {
		return err
	}
	var console *os.File
	err = c.call(func() (err error) {
		console, err = parked.Give(ctx, command.Name, command.Process, child)
		return err
	})
	child.close()
	if err != nil {
		st.close()
		if c.life.Err() != nil {
			err = c.hasEnded()
		}
		return err
	}
	c.bundle.Spec.Process = command.Process
	if command.Name != "" {
		c.bundle.Spec.Hostname = command.Name
	}
	c.init.given(at, st, console)
	return nil
}

// given takes over the streams of a process that was parked.
func (p *process) given(at paths, s *streams, console *os.File) {
	s.attach(console)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths, p.streams = at, s
	if p.inClosed {
		s.closeIn()
	}
}
