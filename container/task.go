package container

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctorhq/ctor/internal/engine"
)

// task is the runtime's side of a container. containerd's client has one as
// well, but asks and parses again what is known here.
type task struct {
	service api.TasksClient
	id      string
	pid     uint32
}

// createTask has the runtime create a container's first process.
func createTask(ctx context.Context, e *engine.Engine, id string, rootfs []mount.Mount, io cio.Config) (*task, error) {
	t := &task{service: e.Client.TaskService(), id: id}
	r := &api.CreateTaskRequest{ContainerID: id, Terminal: io.Terminal, Stdin: io.Stdin, Stdout: io.Stdout, Stderr: io.Stderr}
	for _, m := range rootfs {
		r.Rootfs = append(r.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	a, err := t.service.Create(ctx, r)
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	t.pid = a.Pid
	return t, nil
}

// findTask finds one that was created before. That of an engine of another
// version can't be asked its pid, nor anything else: it is there, and each call
// says so.
func findTask(ctx context.Context, e *engine.Engine, id string) (*task, error) {
	t := &task{service: e.Client.TaskService(), id: id}
	a, err := t.service.Get(ctx, &api.GetRequest{ContainerID: id})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsFailedPrecondition(err) {
		return nil, err
	}
	t.pid = a.GetProcess().GetPid()
	return t, nil
}

func (t *task) start(ctx context.Context) error {
	_, err := t.service.Start(ctx, &api.StartRequest{ContainerID: t.id})
	return errgrpc.ToNative(err)
}

func (t *task) kill(ctx context.Context, s syscall.Signal) error {
	_, err := t.service.Kill(ctx, &api.KillRequest{ContainerID: t.id, Signal: uint32(s)})
	return errgrpc.ToNative(err)
}

func (t *task) closeInput(ctx context.Context) error {
	_, err := t.service.CloseIO(ctx, &api.CloseIORequest{ContainerID: t.id, Stdin: true})
	return errgrpc.ToNative(err)
}

func (t *task) pause(ctx context.Context) error {
	_, err := t.service.Pause(ctx, &api.PauseTaskRequest{ContainerID: t.id})
	return errgrpc.ToNative(err)
}

func (t *task) resume(ctx context.Context) error {
	_, err := t.service.Resume(ctx, &api.ResumeTaskRequest{ContainerID: t.id})
	return errgrpc.ToNative(err)
}

func (t *task) resize(ctx context.Context, width, height uint16) error {
	_, err := t.service.ResizePty(ctx, &api.ResizePtyRequest{ContainerID: t.id, Width: uint32(width), Height: uint32(height)})
	return errgrpc.ToNative(err)
}

// metrics gives the counters of the container's cgroup.
func (t *task) metrics(ctx context.Context) (*types.Metric, error) {
	a, err := t.service.Metrics(ctx, &api.MetricsRequest{Filters: []string{"id==" + t.id}})
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	if len(a.Metrics) == 0 {
		return nil, fmt.Errorf("no counters: %w", errdefs.ErrNotFound)
	}
	return a.Metrics[0], nil
}

func (t *task) status(ctx context.Context) (containerd.Status, error) {
	a, err := t.service.Get(ctx, &api.GetRequest{ContainerID: t.id})
	if err != nil {
		return containerd.Status{}, errgrpc.ToNative(err)
	}
	return containerd.Status{
		Status:     containerd.ProcessStatus(strings.ToLower(a.Process.Status.String())),
		ExitStatus: a.Process.ExitStatus,
		ExitTime:   protobuf.FromTimestamp(a.Process.ExitedAt),
	}, nil
}

// wait gives the end to come; an error in it means that it was not seen.
func (t *task) wait(ctx context.Context) <-chan containerd.ExitStatus {
	ended := make(chan containerd.ExitStatus, 1)
	go func() {
		a, err := t.service.Wait(ctx, &api.WaitRequest{ContainerID: t.id})
		ended <- *containerd.NewExitStatus(a.GetExitStatus(), protobuf.FromTimestamp(a.GetExitedAt()), err)
	}()
	return ended
}

// labelled gives the mounts the SELinux label that a specification asks for.
func labelled(rootfs []mount.Mount, label string) []mount.Mount {
	if label == "" {
		return rootfs
	}
	var list []mount.Mount
	for _, m := range rootfs {
		m.Options = append(m.Options[:len(m.Options):len(m.Options)], fmt.Sprintf("context=%q", label))
		list = append(list, m)
	}
	return list
}
