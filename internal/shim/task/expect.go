package task

import (
	"context"
	"fmt"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// Expect begins with a container that Create will ask for, whose cgroup the options name:
// one below an engine's. What Create then asks for may be another one all the same.
func (s *Service) Expect(ctx context.Context, r *taskapi.CreateTaskRequest) (*emptypb.Empty, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err == nil {
		err = identifiers.Validate(r.ID)
	}
	group := string(r.Options.GetValue())
	if err == nil && cgroup.ParentOf(group) == "" {
		err = fmt.Errorf("cgroup %q: %w", group, errdefs.ErrInvalidArgument)
	}
	x, able := s.executor.(Expecter)
	if err == nil && !able {
		err = errdefs.ErrNotImplemented
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{ns, r.ID}
	_, known := s.containers[k]
	if _, twice := s.expected[k]; known || twice || s.ended {
		return nil, errgrpc.ToGRPC(fmt.Errorf("container %s is not expected: %w", r.ID, errdefs.ErrFailedPrecondition))
	}
	if err := x.Expect(group, mounts(r.Rootfs)); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.expected[k] = group
	s.parents[cgroup.ParentOf(group)] = true
	return empty, nil
}

// Forget takes it back.
func (s *Service) Forget(ctx context.Context, r *taskapi.DeleteRequest) (*emptypb.Empty, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err == nil {
		err = s.unexpect(key{ns, r.ID})
	}
	return empty, errgrpc.ToGRPC(err)
}

// unexpect ends the expectation of a container: what has not become the container's is
// taken back.
func (s *Service) unexpect(k key) error {
	s.mu.Lock()
	group, ok := s.expected[k]
	delete(s.expected, k)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return s.executor.(Expecter).Forget(group)
}

// unexpectAll is for a service that ends.
func (s *Service) unexpectAll() (errs []error) {
	s.mu.Lock()
	var all []key
	for k := range s.expected {
		all = append(all, k)
	}
	s.mu.Unlock()
	for _, k := range all {
		errs = append(errs, s.unexpect(k))
	}
	return errs
}
