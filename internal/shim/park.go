package shim

import (
	"context"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// Park has the shim make a container whose command comes later, by Give. The request
// names no streams. errdefs.ErrNotImplemented is that nothing there can make one.
func (s *Shim) Park(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	a := &taskapi.CreateTaskResponse{}
	return a, s.client.Call(ctx, link.Parking, "Park", r, a)
}

// Give gives a parked container its command: a link.Command is its Spec.
func (s *Shim) Give(ctx context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	a := &emptypb.Empty{}
	return a, s.client.Call(ctx, link.Parking, "Give", r, a)
}
