package life

import (
	"context"
	"strings"
	"syscall"
	"time"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Process names one process of a container in its runtime. containerd's client
// has something like it, but asks and parses again what is known here.
type Process struct {
	Tasks     api.TasksClient
	Container string // its id
	Exec      string // the process's own id, of one that was added; "" is the first
}

// Create has the runtime make the container with its first process, and gives
// its pid.
func (p Process) Create(ctx context.Context, r *api.CreateTaskRequest) (pid int, err error) {
	r.ContainerID = p.Container
	a, err := p.Tasks.Create(ctx, r)
	return int(a.GetPid()), Explain(err)
}

// Add tells the runtime of a further process.
func (p Process) Add(ctx context.Context, r *api.ExecProcessRequest) error {
	r.ContainerID, r.ExecID = p.Container, p.Exec
	_, err := p.Tasks.Exec(ctx, r)
	return Explain(err)
}

// Start lets the process run, and gives its pid.
func (p Process) Start(ctx context.Context) (pid int, err error) {
	a, err := p.Tasks.Start(ctx, &api.StartRequest{ContainerID: p.Container, ExecID: p.Exec})
	return int(a.GetPid()), Explain(err)
}

// Signal sends a signal.
func (p Process) Signal(ctx context.Context, s syscall.Signal) error {
	_, err := p.Tasks.Kill(ctx, &api.KillRequest{ContainerID: p.Container, ExecID: p.Exec, Signal: uint32(s)})
	return errgrpc.ToNative(err)
}

// CloseInput says that there is no more input.
func (p Process) CloseInput(ctx context.Context) error {
	_, err := p.Tasks.CloseIO(ctx, &api.CloseIORequest{ContainerID: p.Container, ExecID: p.Exec, Stdin: true})
	return errgrpc.ToNative(err)
}

// Resize sets the size of the terminal, in characters.
func (p Process) Resize(ctx context.Context, width, height uint16) error {
	_, err := p.Tasks.ResizePty(ctx, &api.ResizePtyRequest{
		ContainerID: p.Container, ExecID: p.Exec, Width: uint32(width), Height: uint32(height),
	})
	return errgrpc.ToNative(err)
}

// Status asks how the process is. It knows nothing of memory.
func (p Process) Status(ctx context.Context) (Status, error) {
	a, err := p.Tasks.Get(ctx, &api.GetRequest{ContainerID: p.Container, ExecID: p.Exec})
	if err != nil {
		return Status{}, errgrpc.ToNative(err)
	}
	s := Status{State: containerd.ProcessStatus(strings.ToLower(a.Process.Status.String()))}
	if s.State == containerd.Stopped {
		s.Exit = Exit{Code: int(a.Process.ExitStatus), At: protobuf.FromTimestamp(a.Process.ExitedAt)}
	} else {
		s.Pid = int(a.Process.Pid)
	}
	return s, nil
}

// Wait waits for the end. It knows nothing of memory.
func (p Process) Wait(ctx context.Context) (Exit, error) {
	a, err := p.Tasks.Wait(ctx, &api.WaitRequest{ContainerID: p.Container, ExecID: p.Exec})
	return Exit{Code: int(a.GetExitStatus()), At: protobuf.FromTimestamp(a.GetExitedAt())}, errgrpc.ToNative(err)
}

// Delete has the runtime let go of a process that was added and has ended.
func (p Process) Delete(ctx context.Context) error {
	_, err := p.Tasks.DeleteProcess(ctx, &api.DeleteProcessRequest{ContainerID: p.Container, ExecID: p.Exec})
	return errgrpc.ToNative(err)
}

// Discard lets go of a process whose start failed. One that took too long may still
// be under way, and run in the end. gone tells of an error whether the runtime has
// nothing of the process.
func (p Process) Discard(ctx context.Context, gone func(error) bool) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if err := p.Delete(ctx); err == nil || gone(err) {
			return
		}
		_ = p.Signal(ctx, syscall.SIGKILL) // an error: there is no process yet
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// Pause freezes the whole container.
func (p Process) Pause(ctx context.Context) error {
	_, err := p.Tasks.Pause(ctx, &api.PauseTaskRequest{ContainerID: p.Container})
	return errgrpc.ToNative(err)
}

// Resume ends what Pause began.
func (p Process) Resume(ctx context.Context) error {
	_, err := p.Tasks.Resume(ctx, &api.ResumeTaskRequest{ContainerID: p.Container})
	return errgrpc.ToNative(err)
}

// Limit gives the container other limits.
func (p Process) Limit(ctx context.Context, r *specs.LinuxResources) error {
	a, err := typeurl.MarshalAnyToProto(r)
	if err != nil {
		return err
	}
	_, err = p.Tasks.Update(ctx, &api.UpdateTaskRequest{ContainerID: p.Container, Resources: a})
	return errgrpc.ToNative(err)
}
