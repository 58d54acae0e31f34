package shim

import (
	"context"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// Expect tells the shim of a container that Create will ask for. Its options are the path
// of its cgroup.
func (s *Shim) Expect(ctx context.Context, r *taskapi.CreateTaskRequest) (*emptypb.Empty, error) {
	a := &emptypb.Empty{}
	return a, s.client.Call(ctx, link.Expecting, "Expect", r, a)
}

// Forget takes back what Expect has told.
func (s *Shim) Forget(ctx context.Context, r *taskapi.DeleteRequest) (*emptypb.Empty, error) {
	a := &emptypb.Empty{}
	return a, s.client.Call(ctx, link.Expecting, "Forget", r, a)
}
