package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/grpc"

	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Create makes a container's bundle and has a shim create it.
func (s *Service) Create(ctx context.Context, r *api.CreateTaskRequest, _ ...grpc.CallOption) (_ *api.CreateTaskResponse, err error) {
	defer func() {
		if err != nil {
			err = errgrpc.ToGRPC(err)
		}
	}()
	k, err := key(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	if r.Checkpoint != nil {
		return nil, fmt.Errorf("restore of task %s: %w", r.ContainerID, errdefs.ErrNotImplemented)
	}
	container, err := s.cfg.Containers.Get(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	bundle, err := s.newBundle(k, container, &undo)
	if err != nil {
		return nil, err
	}
	detached := container.Labels[DetachLabel] != ""
	c, err := s.shimFor(detached, bundle)
	if err != nil {
		return nil, err
	}
	if detached {
		undo.Push(func() error { c.Stop(context.WithoutCancel(ctx), r.ContainerID); return nil })
	}
	opts, err := typeurl.MarshalAnyToProto(&options.Options{Root: filepath.Join(s.cfg.Dir, "runc")})
	if err != nil {
		return nil, err
	}
	resp, err := c.Create(ctx, &taskapi.CreateTaskRequest{
		ID: r.ContainerID, Bundle: bundle, Rootfs: r.Rootfs,
		Terminal: r.Terminal, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr,
		Options: opts,
	})
	if err != nil {
		return nil, reached(r.ContainerID, err)
	}
	s.put(k, c)
	return &api.CreateTaskResponse{ContainerID: r.ContainerID, Pid: resp.Pid}, nil
}

func (s *Service) newBundle(key string, c containers.Container, undo *unwind.Stack) (string, error) {
	dir := s.bundle(key)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("task %s: %w", c.ID, errdefs.ErrAlreadyExists)
	} else if err != nil {
		return "", err
	}
	undo.Push(func() error { return os.RemoveAll(dir) })
	// The shim's service keeps its files for checkpoints in work.
	for _, sub := range []string{"rootfs", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o711); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, oci.ConfigFilename), c.Spec.GetValue(), 0o600); err != nil {
		return "", err
	}
	return dir, nil
}

// Delete removes an ended task and its bundle, and ends a shim of its own.
func (s *Service) Delete(ctx context.Context, r *api.DeleteTaskRequest, _ ...grpc.CallOption) (*api.DeleteResponse, error) {
	c, err := s.find(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	k, _ := key(ctx, r.ContainerID) // find has checked it
	resp, err := c.Delete(ctx, &taskapi.DeleteRequest{ID: r.ContainerID})
	err = reached(r.ContainerID, err)
	// A dead shim's container is gone as well: what is left is its bundle.
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsUnavailable(err) {
		return nil, errgrpc.ToGRPC(err)
	}
	s.drop(k)
	if _, serr := os.Stat(filepath.Join(s.bundle(k), shim.Socket)); serr == nil {
		c.Stop(context.WithoutCancel(ctx), r.ContainerID)
	}
	// runc has removed its record, if there was a shim to ask it.
	if rerr := errors.Join(os.RemoveAll(s.bundle(k)), os.RemoveAll(filepath.Join(s.cfg.Dir, "runc", k))); rerr != nil {
		return nil, errgrpc.ToGRPC(errors.Join(err, rerr))
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.DeleteResponse{ID: r.ContainerID, Pid: resp.Pid, ExitStatus: resp.ExitStatus, ExitedAt: resp.ExitedAt}, nil
}
