package tasks

import (
	"context"
	"errors"
	"fmt"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/shim"
)

// errGone is the error of a shim that does not answer any more.
var errGone = fmt.Errorf("its shim is gone: %w", errdefs.ErrUnavailable)

// reached turns the error of a shim's answer into one that callers can test for.
func reached(id string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("task %s: %w", id, errGone)
	}
	return errgrpc.ToNative(err)
}

// call asks the shim of a task. It says that a shim is gone only when what the shim
// left is dead as well.
func call[Q, A any](ctx context.Context, s *Service, id string, verb func(*shim.Shim, context.Context, Q) (A, error), q Q) (A, error) {
	t, err := s.find(ctx, id)
	if err != nil {
		var none A
		return none, err
	}
	a, err := verb(t.shim.Shim, ctx, q)
	if err = reached(id, err); errors.Is(err, errGone) {
		t.shim.settle(ctx)
		err = t.shim.explain(err)
	}
	return a, errgrpc.ToGRPC(err)
}

// Start runs a created process. Like Create it can't be stopped halfway. A further
// process may have to wait for others in the container: so the deadline of ctx holds
// for it.
func (s *Service) Start(ctx context.Context, r *api.StartRequest, _ ...grpc.CallOption) (*api.StartResponse, error) {
	whole := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok && r.ExecID != "" {
		var cancel context.CancelFunc
		whole, cancel = context.WithDeadline(whole, deadline)
		defer cancel()
	}
	a, err := call(whole, s, r.ContainerID, (*shim.Shim).Start, &taskapi.StartRequest{ID: r.ContainerID, ExecID: r.ExecID})
	return &api.StartResponse{Pid: a.GetPid()}, err
}

// Kill sends a signal.
func (s *Service) Kill(ctx context.Context, r *api.KillRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).Kill, &taskapi.KillRequest{ID: r.ContainerID, ExecID: r.ExecID, Signal: r.Signal, All: r.All})
}

// Exec adds a process.
func (s *Service) Exec(ctx context.Context, r *api.ExecProcessRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).Exec, &taskapi.ExecProcessRequest{
		ID: r.ContainerID, ExecID: r.ExecID, Terminal: r.Terminal,
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Spec: r.Spec,
	})
}

// DeleteProcess removes an ended process that Exec added.
func (s *Service) DeleteProcess(ctx context.Context, r *api.DeleteProcessRequest, _ ...grpc.CallOption) (*api.DeleteResponse, error) {
	a, err := call(ctx, s, r.ContainerID, (*shim.Shim).Delete, &taskapi.DeleteRequest{ID: r.ContainerID, ExecID: r.ExecID})
	return &api.DeleteResponse{ID: r.ExecID, Pid: a.GetPid(), ExitStatus: a.GetExitStatus(), ExitedAt: a.GetExitedAt()}, err
}

// ResizePty sets a terminal's size.
func (s *Service) ResizePty(ctx context.Context, r *api.ResizePtyRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).ResizePty, &taskapi.ResizePtyRequest{ID: r.ContainerID, ExecID: r.ExecID, Width: r.Width, Height: r.Height})
}

// CloseIO closes a process's input.
func (s *Service) CloseIO(ctx context.Context, r *api.CloseIORequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).CloseIO, &taskapi.CloseIORequest{ID: r.ContainerID, ExecID: r.ExecID, Stdin: r.Stdin})
}

// Pause freezes a task.
func (s *Service) Pause(ctx context.Context, r *api.PauseTaskRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).Pause, &taskapi.PauseRequest{ID: r.ContainerID})
}

// Resume thaws a task.
func (s *Service) Resume(ctx context.Context, r *api.ResumeTaskRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).Resume, &taskapi.ResumeRequest{ID: r.ContainerID})
}

// Update changes a task's limits.
func (s *Service) Update(ctx context.Context, r *api.UpdateTaskRequest, _ ...grpc.CallOption) (*emptypb.Empty, error) {
	return call(ctx, s, r.ContainerID, (*shim.Shim).Update, &taskapi.UpdateTaskRequest{ID: r.ContainerID, Resources: r.Resources, Annotations: r.Annotations})
}

// Wait answers when a process has ended.
func (s *Service) Wait(ctx context.Context, r *api.WaitRequest, _ ...grpc.CallOption) (*api.WaitResponse, error) {
	a, err := call(ctx, s, r.ContainerID, (*shim.Shim).Wait, &taskapi.WaitRequest{ID: r.ContainerID, ExecID: r.ExecID})
	return &api.WaitResponse{ExitStatus: a.GetExitStatus(), ExitedAt: a.GetExitedAt()}, err
}

// ListPids gives a task's processes.
func (s *Service) ListPids(ctx context.Context, r *api.ListPidsRequest, _ ...grpc.CallOption) (*api.ListPidsResponse, error) {
	a, err := call(ctx, s, r.ContainerID, (*shim.Shim).Pids, &taskapi.PidsRequest{ID: r.ContainerID})
	return &api.ListPidsResponse{Processes: a.GetProcesses()}, err
}
