package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	eventtypes "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
)

var empty = &emptypb.Empty{}

// Exec announces a further process, which Start then starts.
func (s *Service) Exec(ctx context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if err := identifiers.Validate(r.ExecID); err != nil { // it becomes part of paths
		return nil, errgrpc.ToGRPC(err)
	}
	p := newProcess(r.ExecID, paths{in: r.Stdin, out: r.Stdout, err: r.Stderr, terminal: r.Terminal})
	p.spec = &specs.Process{}
	if err := json.Unmarshal(r.Spec.GetValue(), p.spec); err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("process: %w: %w", err, errdefs.ErrInvalidArgument))
	}
	p.spec.Terminal = r.Terminal
	if len(p.spec.Args) == 0 {
		return nil, errgrpc.ToGRPC(fmt.Errorf("process: it has no arguments: %w", errdefs.ErrInvalidArgument))
	}
	if err := c.add(p); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(c.bundle.Namespace, &eventtypes.TaskExecAdded{ContainerID: r.ID, ExecID: r.ExecID})
	return empty, nil
}

// startExec starts it. One that could not be started has ended, as those
// that wait for it learn.
func (s *Service) startExec(ctx context.Context, c *container, p *process) (err error) {
	defer func() {
		if err != nil {
			p.failed()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	defer func() {
		if err != nil && c.life.Err() != nil {
			err = c.hasEnded()
		}
	}()
	st, child, err := c.open(ctx, p.paths)
	if err != nil {
		return err
	}
	c.starts.RLock()
	defer c.starts.RUnlock()
	switch {
	case c.life.Err() != nil:
		err = c.hasEnded()
	case c.handle == nil:
		err = c.isUnmade()
	default:
		err = c.call(func() error { return c.exec(ctx, p, st, child) })
	}
	child.close()
	if err != nil {
		st.close()
		return err
	}
	st.begin()
	s.events.send(c.bundle.Namespace, &eventtypes.TaskExecStarted{ContainerID: c.bundle.ID, ExecID: p.id, Pid: uint32(p.pid)})
	go s.watch(c, p)
	return nil
}

func (c *container) exec(ctx context.Context, p *process, st *streams, child Stdio) error {
	started, err := c.execute(ctx, p, child)
	if err != nil {
		return err
	}
	if err := p.born(started, st); err != nil {
		started.discard()
		return err
	}
	return nil
}

// execute has the executor start a process, and the process execute its command.
func (c *container) execute(ctx context.Context, p *process, child Stdio) (started Process, err error) {
	name := p.spec.Args[0]
	why := c.atLimit(name)
	defer func() { err = why(err) }()
	defer c.makeRoom()()
	if started, err = c.handle.Exec(ctx, p.id, p.spec, child); err != nil {
		c.suspect()
		return started, err
	}
	// It can't be reaped meanwhile: it is not known yet.
	if err = awaitExec(ctx, func() progress { return progressOf(started.Pid) }); err != nil {
		ws := started.discard()
		if errors.Is(err, errUnexecuted) {
			err = c.refused(name, ws)
		}
	}
	return started, err
}

// State tells how a process is.
func (s *Service) State(ctx context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	c, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	paused := c.isPaused()
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.state
	if paused && state == tasktypes.Status_RUNNING {
		state = tasktypes.Status_PAUSED
	}
	id := r.ExecID
	if id == "" {
		id = r.ID
	}
	return &taskapi.StateResponse{
		ID: id, Bundle: c.bundle.Dir, Pid: uint32(p.pid), Status: state,
		Stdin: p.paths.in, Stdout: p.paths.out, Stderr: p.paths.err, Terminal: p.paths.terminal,
		ExitStatus: p.status, ExitedAt: protobuf.ToTimestamp(p.at), ExecID: r.ExecID,
	}, nil
}

// Wait answers when a process has ended.
func (s *Service) Wait(ctx context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	_, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &taskapi.WaitResponse{ExitStatus: p.status, ExitedAt: protobuf.ToTimestamp(p.at)}, nil
}

// Kill sends a signal.
func (s *Service) Kill(ctx context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return empty, errgrpc.ToGRPC(c.kill(r.ExecID, unix.Signal(r.Signal), r.All))
}

// Pause freezes a container.
func (s *Service) Pause(ctx context.Context, r *taskapi.PauseRequest) (*emptypb.Empty, error) {
	return s.freeze(ctx, r.ID, true, Container.Pause, &eventtypes.TaskPaused{ContainerID: r.ID})
}

// Resume thaws it.
func (s *Service) Resume(ctx context.Context, r *taskapi.ResumeRequest) (*emptypb.Empty, error) {
	return s.freeze(ctx, r.ID, false, Container.Resume, &eventtypes.TaskResumed{ContainerID: r.ID})
}

func (s *Service) freeze(ctx context.Context, id string, paused bool, do func(Container, context.Context) error, event any) (*emptypb.Empty, error) {
	c, err := s.find(ctx, id)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	c.starts.Lock()
	defer c.starts.Unlock()
	c.freezing.Lock()
	defer c.freezing.Unlock()
	if c.init.current() != tasktypes.Status_RUNNING || c.handle == nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("container %s does not run: %w", id, errdefs.ErrFailedPrecondition))
	}
	err = c.call(func() error { return do(c.handle, ctx) })
	if err == nil && paused {
		if err = c.cgroup().AwaitFrozen(ctx); err != nil {
			_ = c.call(func() error { return c.handle.Resume(context.WithoutCancel(ctx)) })
		}
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	c.setPaused(paused)
	s.events.send(c.bundle.Namespace, event)
	return empty, nil
}

// Pids gives the processes of a container.
func (s *Service) Pids(ctx context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	pids, err := c.cgroup().Pids()
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	execs := map[int]string{}
	for _, p := range c.all() {
		if pid := p.running(); pid != 0 {
			execs[pid] = p.id
		}
	}
	resp := &taskapi.PidsResponse{}
	for _, pid := range pids {
		info := &tasktypes.ProcessInfo{Pid: uint32(pid)}
		if id := execs[pid]; id != "" {
			if info.Info, err = typeurl.MarshalAnyToProto(&options.ProcessDetails{ExecID: id}); err != nil {
				return nil, errgrpc.ToGRPC(err)
			}
		}
		resp.Processes = append(resp.Processes, info)
	}
	return resp, nil
}

// CloseIO ends a process's input.
func (s *Service) CloseIO(ctx context.Context, r *taskapi.CloseIORequest) (*emptypb.Empty, error) {
	_, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.inClosed = true
		if p.streams != nil {
			p.streams.closeIn()
		}
	}
	return empty, nil
}

// ResizePty sets a terminal's size.
func (s *Service) ResizePty(ctx context.Context, r *taskapi.ResizePtyRequest) (*emptypb.Empty, error) {
	_, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	st := p.streams
	p.mu.Unlock()
	if st == nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("the process was not started: %w", errdefs.ErrFailedPrecondition))
	}
	return empty, errgrpc.ToGRPC(st.resize(r.Width, r.Height))
}

// Update changes a container's limits.
func (s *Service) Update(ctx context.Context, r *taskapi.UpdateTaskRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	var res specs.LinuxResources
	if err := json.Unmarshal(r.Resources.GetValue(), &res); err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("resources: %w: %w", err, errdefs.ErrInvalidArgument))
	}
	c.starts.RLock()
	defer c.starts.RUnlock()
	if c.handle == nil {
		return nil, errgrpc.ToGRPC(c.isUnmade())
	}
	c.allowance.mu.Lock() // which would take what is written meanwhile for its own
	err = c.call(func() error { return c.handle.Update(ctx, &res) })
	c.allowance.mu.Unlock()
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if limited(&res) {
		s.watchOOM(c)
	}
	return empty, nil
}

// Stats reads a container's counters.
func (s *Service) Stats(ctx context.Context, r *taskapi.StatsRequest) (*taskapi.StatsResponse, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	m, err := c.cgroup().Stats()
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	a, err := typeurl.MarshalAnyToProto(m)
	return &taskapi.StatsResponse{Stats: a}, errgrpc.ToGRPC(err)
}

// Connect tells the pids of shim and container.
func (s *Service) Connect(ctx context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	resp := &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}
	if c, err := s.find(ctx, r.ID); err == nil {
		resp.TaskPid = uint32(c.init.number())
	}
	return resp, nil
}

// Shutdown ends the shim if it has no containers, or, if that is to be now,
// when it has undone them, and those that it is making, as far as they end.
func (s *Service) Shutdown(ctx context.Context, r *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	if !r.Now {
		s.endIdle()
		return empty, nil
	}
	err := s.Undo(context.WithoutCancel(ctx))
	if s.shutdown != nil {
		s.shutdown() // also where a container does not end
	}
	return empty, errgrpc.ToGRPC(err)
}

func (s *Service) endIdle() {
	s.mu.Lock()
	busy := len(s.containers) > 0
	s.mu.Unlock()
	if !busy && s.shutdown != nil {
		s.shutdown()
	}
}

// EndWithContainer has the shim end when a container of it has been deleted, and
// it has no other.
func (s *Service) EndWithContainer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.single = true
}

func (s *Service) isSingle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.single
}

// EndUnused ends the shim unless it has a container, or is making one that
// comes to be.
func (s *Service) EndUnused() {
	s.creates.Wait()
	s.endIdle()
}
