package tasks

import (
	"context"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/types/known/anypb"
)

// expectation is a container that a shim has been told of before it is asked to make it.
type expectation struct {
	shim *tended
	told chan struct{} // closed when the shim has heard of it
}

// Expect tells the shim of a container that Create is about to ask for, by its cgroup and
// its root file system: the shim begins with it, while the caller prepares the rest. Delete
// takes that back. It does not wait, and promises nothing: while another container is
// expected the processors have enough to do.
func (s *Service) Expect(ctx context.Context, id, cgroup string, root []*types.Mount) {
	k, err := key(ctx, id)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.attached
	if c == nil || s.closed || len(s.expected) > 0 {
		return
	}
	x := &expectation{shim: c, told: make(chan struct{})}
	s.expected[k] = x
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit) // Create waits for it
	s.ending.Go(func() {
		defer cancel()
		defer close(x.told)
		// An error means that Create does all of it.
		_, _ = c.Expect(ctx, &taskapi.CreateTaskRequest{ID: id, Rootfs: root, Options: &anypb.Any{Value: []byte(cgroup)}})
	})
}

// meet ends an expectation, of which its shim has heard then; nil: there is none.
func (s *Service) meet(key string) *expectation {
	s.mu.Lock()
	x := s.expected[key]
	delete(s.expected, key)
	s.mu.Unlock()
	if x != nil {
		<-x.told
	}
	return x
}

// disappoint has a shim take back what it has begun of a container that is not to be.
func (s *Service) disappoint(ctx context.Context, key, id string) {
	if x := s.meet(key); x != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
		defer cancel()
		_, _ = x.shim.Forget(ctx, &taskapi.DeleteRequest{ID: id}) // an error: it has gone, and all that it had
	}
}
